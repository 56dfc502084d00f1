"""The two attention blocks that were released with Xu et al., IPMI 2025, put together from `CrossAttention`."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from regbench_baselines.layers.swin import CrossAttention, SwinOptions, official_cross_key
from regbench_baselines.official import Official

VARIANTS = ["corrected", "legacy"]
LWCA = Official(
    name="lwca",
    options={},
    key_of=lambda own: f"lwca.transformer.{official_cross_key(own)}",
    unused=(r"reg_head_.*", r"lwca\.transformer\.norm[123]\..*", r".*relative_position_index"),
)


def attention(state: dict[str, Tensor], variant: str, dtype: torch.dtype) -> CrossAttention:
    rules = "legacy" if variant == "legacy" else "official"
    block = CrossAttention(16, 1, SwinOptions(window=(2, 3, 2), rules=rules))
    LWCA.load(block, state)
    return block.to(dtype).eval()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 5e-7), (torch.float32, 2e-5)])
def test_cross_modality_attention(probe, variant, dtype, bound) -> None:
    p = probe(f"ipmi_cross_modality_attention_d16_w232_8x9x6_{variant}")
    state, inputs = p.state_dict(buffers=True), p.inputs(dtype)
    block = attention(state, variant, dtype)
    with torch.no_grad():
        image, mask = (block(inputs[f"{x}_m"], inputs[f"{x}_f"]) for x in ("I", "S"))
        heads = [
            F.conv3d(features, *(state[f"reg_head_{x}.0.{kind}"].to(dtype) for kind in ("weight", "bias")), padding=1)
            for x, features in (("I", image), ("S", mask))
        ]
    assert p.intermediate_error("lwca_image", image) <= 2e-6
    assert p.intermediate_error("lwca_mask", mask) <= 2e-6
    assert p.error("out64" if dtype == torch.float64 else "out", (heads[0] + heads[1]) / 2) <= bound


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 5e-7), (torch.float32, 2e-5)])
def test_fusion(probe, variant, dtype, bound) -> None:
    p = probe(f"ipmi_cross_modality_attention_fusion_d16_w232_8x9x6_{variant}")
    inputs = p.inputs(dtype)
    block = attention(p.state_dict(), variant, dtype)
    with torch.no_grad():
        image, mask = (block(inputs[f"{x}_m"], inputs[f"{x}_f"]) for x in ("I", "S"))
        fused = block(image, mask)
    assert p.intermediate_error("lwca_image", image) <= 2e-6
    assert p.intermediate_error("lwca_mask", mask) <= 2e-6
    assert p.error("out64" if dtype == torch.float64 else "out", fused) <= bound


def test_the_probe_tells_apart_which_map_asks(probe) -> None:
    p = probe("ipmi_cross_modality_attention_fusion_d16_w232_8x9x6_corrected")
    options = SwinOptions(window=(2, 3, 2), rules="official")
    block = CrossAttention(16, 1, options, queries_from="stream")
    LWCA.load(block, p.state_dict())
    inputs = p.inputs()
    with torch.no_grad():
        image = block.eval()(inputs["I_m"], inputs["I_f"])
    assert p.intermediate_error("lwca_image", image) > 0.01
