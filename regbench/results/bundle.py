"""Runs in one file, to be published: records, cases and histories; no scans.

A bundle is a zip file. `bundle.json` lists every other file of it with its sha256; the files of a run lie below
TASK/RUN-ID/. The same runs give the same bytes.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from regbench.data.files.atomic import replacing_file
from regbench.errors import BadValueError
from regbench.results.record import SCHEMA_VERSION, RunRecord
from regbench.results.store import RunFolder, file_digest

LAYOUT = 1
MANIFEST = "bundle.json"
RECORD = "run.json"

_LONG_AGO = (1980, 1, 1, 0, 0, 0)
_READABLE = 0o644 << 16

Chosen = Sequence[tuple[RunFolder, RunRecord]]


class Manifest(BaseModel):
    """bundle.json.

    Attributes:
        format: says what the file is.
        layout: of the bundle's files.
        schema_version: of its records.
        files: name in the bundle → sha256.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["regbench bundle"] = "regbench bundle"
    layout: int = LAYOUT
    schema_version: int = SCHEMA_VERSION
    files: dict[str, str]


def write_bundle(path: Path, runs: Chosen, *, weights: bool = False, fields: bool = False) -> int:
    """Write finished runs into a bundle, whole or not at all.

    Args:
        path: the zip file.
        runs: each with its record; one that is given twice is packed once.
        weights: whether the networks' weights go in.
        fields: whether the displacement fields that were kept go in.

    Returns:
        How many runs it holds.

    Raises:
        BadValueError: for a run that is not done, and for a file that is not what the run wrote.
        StorageError: where it cannot be written.
    """
    content: dict[str, Path] = {}
    for folder, record in {folder.path.resolve(): (folder, record) for folder, record in runs}.values():
        files = {
            f"{record.task}/{record.run_id}/{name}": file for name, file in _packed(folder, record, weights, fields)
        }
        if content.keys() & files.keys():
            raise BadValueError(f"Two of the runs have the id {record.run_id}; name one of their folders only.")
        content |= files
    digests = {name: file_digest(file) for name, file in sorted(content.items())}
    with replacing_file(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr(_entry(MANIFEST), Manifest(files=digests).model_dump_json(indent=1))
        for name in digests:
            with content[name].open("rb") as source, bundle.open(_entry(name), "w", force_zip64=True) as target:
                while block := source.read(1 << 20):
                    target.write(block)
    return sum(name.endswith(f"/{RECORD}") for name in digests)


def is_packed(name: str, *, weights: bool = True, fields: bool = True) -> bool:
    """Whether a file of a run may be in a bundle, by its name below the run's folder."""
    folder, _, rest = name.rpartition("/")
    if folder == "fields":
        return fields and rest.startswith("disp_") and rest.endswith(".nii.gz")
    return name in (RECORD, "cases.csv", "history.csv") or (weights and name.endswith(".safetensors") and not folder)


def _packed(folder: RunFolder, record: RunRecord, weights: bool, fields: bool) -> list[tuple[str, Path]]:
    if record.status != "done":
        raise BadValueError(f"The run {record.run_id} is {record.status}, not done; leave it out or run it to its end.")
    names = [name for name in record.files if is_packed(name, weights=weights, fields=fields)]
    if "cases.csv" not in names:
        raise BadValueError(f"The record of run {record.run_id} names no cases.csv; run it again.")
    for name in names:
        file = folder.path / name
        if not file.is_file() or file_digest(file) != record.files[name]:
            said = "is not the file that the run wrote" if file.is_file() else "is missing"
            raise BadValueError(f"{file} {said}; restore it, or run it again with --force.")
    return [(name, folder.path / name) for name in (RECORD, *names)]


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _LONG_AGO)
    entry.external_attr, entry.compress_type = _READABLE, zipfile.ZIP_DEFLATED
    return entry
