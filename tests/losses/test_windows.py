"""Window sums against a convolution."""

import pytest
import torch
import torch.nn.functional as F

from regbench.losses.windows import BoxSum, box_sum, doublings, padded_length


@pytest.mark.parametrize("window", range(1, 20))
def test_doublings_reach_the_window(window: int) -> None:
    width = 1
    for of_sums, shift in doublings(window):
        assert shift == width  # the copy that is added begins where the sum so far ends
        width += width if of_sums else 1
    assert width == window


@pytest.mark.parametrize("window", [3, 5, 9])
@pytest.mark.parametrize("renewal", [1, 4, 100])
def test_sums_are_a_convolutions(window: int, renewal: int) -> None:
    volume = torch.rand(11, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    kernel = torch.ones(1, 1, window, window, window, dtype=torch.float64)
    expected = F.conv3d(volume[None, None], kernel, padding=window // 2)[0, 0]
    torch.testing.assert_close(box_sum(volume[None], window)[0], expected, rtol=0, atol=1e-11)
    scratch = [torch.empty(padded_length((4, 6), window), dtype=torch.float64) for _ in range(3)]
    box = BoxSum((4, 6), window, torch.float64, renewal, scratch)
    for newest in range(11 + window // 2):
        if newest < 11:
            box.inside.copy_(volume[newest])
        sums = box.unpad(box.push(empty=newest >= 11))
        if newest >= window // 2:
            torch.testing.assert_close(sums, expected[newest - window // 2], rtol=0, atol=1e-11)
