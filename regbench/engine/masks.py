"""Masks for a cohort: asked for once, kept, and never used for another cohort."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError

from regbench.api import MaskRequest, MaskSource, Volume
from regbench.api.progress import Progress, Silent, during
from regbench.data import Cohort, cache_folder
from regbench.data.cohorts.fingerprints import masks_fingerprint
from regbench.data.cohorts.preprocess import VERSION
from regbench.data.files.folders import note_use
from regbench.data.files.sealed import read_sealed, write_sealed
from regbench.engine.apart import apart
from regbench.engine.plan import Chosen
from regbench.engine.records.run_id import digest, plugin_identity
from regbench.errors import BusyError, DataError, RunError
from regbench.results import MasksRecord, locked

_FILE = "masks.safetensors"
_SEED = 0
_PATIENCE_SECONDS = 24 * 3600.0


def add_masks(
    cohort: Cohort, source: Chosen[MaskSource], progress: Progress, *, modality: str, cache: Path | None = None
) -> Cohort:
    """The cohort with masks from a source, for all of its scans.

    They depend on the scans, the protocol, the source, its version and its configuration, not on the seed of a run,
    and are made once: rows of one cohort are compared on the same masks. A second process that wants them waits.

    Args:
        cohort: without masks.
        source: what makes them.
        progress: is told of a phase "masks" while they are made.
        modality: "ct" or "mr".
        cache: the folder to keep them in; None: the user's cache folder.

    Raises:
        RunError: if the source gives something else than a label map on every scan's grid.
        StorageError: where the cache lacks them and cannot be written.
    """
    folder = (cache or cache_folder()) / "masks" / masks_key(cohort, source)
    kept = _read(folder / _FILE, cohort)  # before any lock: the cache may be somebody else's, to be read only
    if kept is not None:
        note_use(folder)
        return _with(cohort, kept, source.plugin.name)
    with _held(folder, progress):
        kept = _read(folder / _FILE, cohort)
        if kept is not None:
            return _with(cohort, kept, source.plugin.name)
        if (folder / _FILE).exists():
            progress.note(f"The masks kept in {folder} are not what was written there; making them again.")
        with during("masks", progress, float(len(cohort.ids))):
            request = mask_request(cohort, source.instance, modality, folder / "workspace", progress)
            made = source.instance.masks(request)
        masked = _with(cohort, made, source.plugin.name)
        content = {str(n): made[scan].data.cpu().contiguous() for n, scan in enumerate(cohort.ids)}
        write_sealed(folder / _FILE, safetensors.torch.save(content))
    return masked


@contextmanager
def _held(folder: Path, progress: Progress) -> Iterator[None]:
    """The folder's lock, waited for if another process makes the same masks."""
    with ExitStack() as held:
        try:
            held.enter_context(locked(folder))
        except BusyError:
            progress.note("Another process is making the same masks; waiting for it.")
            held.enter_context(locked(folder, patience_seconds=_PATIENCE_SECONDS))
        yield


def masks_key(cohort: Cohort, source: Chosen[MaskSource]) -> str:
    """What masks are kept under: a digest of all that they depend on."""
    protocol = cohort.protocol.model_dump(mode="json", include={"train", "test", "labels", "grid", "intensity"})
    return digest([cohort.fingerprint, VERSION, protocol, plugin_identity(source), _SEED, cohort.device.type])[:16]


def numbers_of_masks(cohort: Cohort) -> Cohort:
    """The cohort as a method that looks at masks in training only finds it at test: the numbers of their labels."""
    return replace(cohort, mask_labels=tuple(sorted(cohort.protocol.labels)))


def other_masks(saw: MasksRecord | None, cohort: Cohort) -> str | None:
    """A sentence where a cohort's masks are others than those that a run saw; None where they are the same.

    Args:
        saw: of the run's record; one without a digest, as older runs have it, may have seen any.
        cohort: one without masks has no others.
    """
    found = masks_fingerprint(cohort) if saw and saw.digest else None
    if saw is None or found in (None, saw.digest):
        return None
    return f"The masks of '{saw.name}' that were made again are others than those that the run saw."


def mask_request(
    cohort: Cohort, source: MaskSource, modality: str, workspace: Path, progress: Progress | None = None
) -> MaskRequest:
    """What a source is given: the labels of the training side, and all labels only if it declares that it sees them."""
    workspace.mkdir(parents=True, exist_ok=True)
    labelled = cohort.labels is not None
    training = cohort.protocol.train if labelled else ()
    told = cohort.ids if labelled and source.saw_test_labels else ()
    return MaskRequest(
        scans={scan: apart(cohort.image(scan)) for scan in cohort.ids},
        sources=cohort.sources,
        labels=cohort.protocol.labels,
        training_labels={scan: apart(cohort.label_map(scan)) for scan in training},
        truth={scan: apart(cohort.label_map(scan)) for scan in told} if told else None,
        workspace=workspace,
        device=cohort.device,
        seed=_SEED,
        modality=modality,
        progress=progress or Silent(),
    )


def _with(cohort: Cohort, masks: Mapping[str, Volume], name: str) -> Cohort:
    try:
        return cohort.with_masks(masks)
    except DataError as error:
        raise RunError(f"The masks of '{name}' cannot be used: {error.faults[0]}") from error


def _read(path: Path, cohort: Cohort) -> dict[str, Volume] | None:
    try:
        content = safetensors.torch.load(read_sealed(path))
    except (OSError, ValueError, SafetensorError):
        return None
    if set(content) != {str(n) for n in range(len(cohort.ids))} or any(
        t.dtype != torch.uint8 for t in content.values()
    ):
        return None
    return {scan: Volume(content[str(n)], cohort.grids[n]) for n, scan in enumerate(cohort.ids)}
