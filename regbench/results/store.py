"""The folder of all runs: runs/<task>/<row>/<run-id>/."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from regbench.data.files.atomic import storage_errors, write_text
from regbench.errors import BadValueError, StorageError, UnknownNameError
from regbench.results.lock import LOCK, is_locked, locked
from regbench.results.record import SCHEMA_VERSION, RunRecord

_RECORD = "run.json"
_SEAL = "seal"
_DEPTH = 3  # of a run below its store


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run, whether it exists yet or not."""

    path: Path

    @property
    def state(self) -> Path:
        """The checkpoint to go on from; gone once the run is done."""
        return self.path / "state.pt"

    @property
    def weights(self) -> Path:
        """The weights after the last step: those that are evaluated."""
        return self.path / "weights.safetensors"

    @property
    def best(self) -> Path:
        """The weights with the best validation score."""
        return self.path / "best.safetensors"

    @property
    def history(self) -> Path:
        """One line a training step."""
        return self.path / "history.csv"

    @property
    def cases(self) -> Path:
        """One line a pair, metric and label."""
        return self.path / "cases.csv"

    @property
    def fields(self) -> Path:
        """The folder of displacement fields, where they were kept."""
        return self.path / "fields"

    @property
    def failure(self) -> Path:
        """The traceback, where it failed."""
        return self.path / "traceback.txt"

    @property
    def places(self) -> Path:
        """Where this machine has the files that the run was given, since a record keeps no paths; never bundled."""
        return self.path / ".places.json"

    def lock(self) -> AbstractContextManager[None]:
        """Hold the run, for as long as the block lasts; see `locked`."""
        return locked(self.path)

    def load(self) -> RunRecord | None:
        """The record, or None where there is none. One left "running" by a dead process reads as "interrupted".

        Raises:
            StorageError: if there is one that cannot be read, or that was changed by somebody else than `save`.
        """
        path = self.path / _RECORD
        try:
            record = _parse(path, path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error.strerror}.") from error
        if record.status == "running" and not is_locked(self.path):
            return record.model_copy(update={"status": "interrupted"})
        return record

    def save(self, record: RunRecord) -> None:
        """Write the record, atomically, with a digest of itself.

        Raises:
            StorageError: where it cannot be written.
        """
        content = json.loads(record.model_dump_json())
        sealed = {**content, _SEAL: _seal(content)}
        write_text(self.path / _RECORD, json.dumps(sealed, indent=2, ensure_ascii=False) + "\n")

    def clear(self) -> None:
        """Remove everything but the lock.

        Raises:
            StorageError: where something cannot be removed.
        """
        with storage_errors(self.path):
            for path in self._content():
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def keeps_fields(self, record: RunRecord) -> bool:
        """Whether the record names displacement fields and all of them are there; a killed process leaves some."""
        named = [name for name in record.files if name.startswith(f"{self.fields.name}/")]
        return bool(named) and all((self.path / name).is_file() for name in named)

    def digests(self) -> Mapping[str, str]:
        """File name → sha256 of every file that stays beside the record.

        Raises:
            StorageError: where one of them cannot be read.
        """
        files = [f for f in sorted(self.path.rglob("*")) if f.is_file() and not f.name.startswith(".")]
        lasting = [f for f in files if f.name not in (_RECORD, self.state.name)]
        return {f.relative_to(self.path).as_posix(): file_digest(f) for f in lasting}

    def _content(self) -> list[Path]:
        return [path for path in self.path.iterdir() if path.name != LOCK] if self.path.is_dir() else []


@dataclass(frozen=True)
class Listing:
    """What a store holds.

    Attributes:
        runs: each readable run.
        faults: one sentence for each record, or folder of some, that cannot be read, with its path.
    """

    runs: tuple[tuple[RunFolder, RunRecord], ...]
    faults: tuple[str, ...]

    def __iter__(self) -> Iterator[tuple[RunFolder, RunRecord]]:
        return iter(self.runs)

    def __len__(self) -> int:
        return len(self.runs)


@dataclass(frozen=True, slots=True)
class Store:
    """All runs below one folder.

    Attributes:
        root: the folder; it need not exist.
    """

    root: Path

    def folder(self, task: str, row: str, run_id: str) -> RunFolder:
        """Where a run is kept."""
        return RunFolder(self.root / task / _folder_name(row) / run_id)

    def list(self) -> Listing:
        """Every run that can be read, and what is wrong with the others."""
        runs: dict[str, tuple[RunFolder, RunRecord]] = {}
        folders, faults = _folders_below(self.root)
        for folder in folders:
            try:
                record = _own_record(folder)
            except StorageError as error:
                faults.append(str(error))
                continue
            first, _ = runs.setdefault(record.run_id, (folder, record))
            if first != folder:
                faults.append(f"{folder.path} has the id of {first.path}; remove one of the two.")
        return Listing(tuple(runs.values()), tuple(faults))

    def find(self, name: str) -> tuple[RunFolder, RunRecord]:
        """One run.

        Args:
            name: its folder, or its id or how that begins.

        Raises:
            UnknownNameError: if there is none.
            BadValueError: if several are meant.
            StorageError: if its record cannot be read, or a folder where it may be.
        """
        folder = RunFolder(Path(name))
        record = folder.load() if name else None
        if record:
            return folder, record
        folders, unreadable = _folders_below(self.root)
        found = [folder for folder in folders if name and folder.path.name.startswith(name)]
        if len(found) > 1:
            names = ", ".join(folder.path.name for folder in found)
            raise BadValueError(f"'{name}' may be any of the runs {names}; give more of the id, or a folder.")
        if not found and unreadable:
            raise StorageError("\n".join(unreadable))
        if not found:
            raise UnknownNameError("run", name, [folder.path.name for folder in folders])
        return found[0], _own_record(found[0])


def file_digest(path: Path) -> str:
    """The sha256 of a file.

    Raises:
        StorageError: where it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}.") from error


def _folders_below(root: Path) -> tuple[list[RunFolder], list[str]]:
    """Every folder with something that only a run has, and a sentence for each that cannot be looked into."""
    paths: list[Path] = []
    errors: list[OSError] = []
    for name, below, files in os.walk(root, onerror=errors.append, followlinks=True):
        path = Path(name)
        if len(path.relative_to(root).parts) == _DEPTH:
            below.clear()
            paths += [path] if {_RECORD, "cases.csv"} & {*files} else []
    faults = [
        f"{error.filename} cannot be read: {error.strerror}; its runs are left out."
        for error in errors
        if not isinstance(error, FileNotFoundError)  # a store need not exist
    ]
    return [RunFolder(path) for path in sorted(paths)], faults


def _own_record(folder: RunFolder) -> RunRecord:
    record = folder.load()
    if record is None:
        raise StorageError(f"{folder.path} lacks its {_RECORD}; restore it, or remove the folder.")
    if record.run_id != folder.path.name:
        raise StorageError(f"{folder.path} holds the record of run {record.run_id}; restore its own, or remove it.")
    return record


def _folder_name(row: str) -> str:
    """A row's name as the name of a folder on any file system.

    >>> _folder_name("voxelmorph[weights=a/b] + segmenter")
    'voxelmorph[weights=a_b] + segmenter'
    """
    return re.sub(r"[^\w .,=+\[\]-]", "_", row, flags=re.ASCII)[:120].rstrip(" .")


def _parse(path: Path, content: bytes) -> RunRecord:
    try:
        read = json.loads(content)
        version, seal = read["schema_version"], read.pop(_SEAL, None)
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise StorageError(
                f"{path} was written by a newer regbench (schema {version}; this one reads up to {SCHEMA_VERSION}); "
                "upgrade regbench to read it."
            )
        if seal not in (None, _seal(read)):  # older records have none
            raise StorageError(
                f"{path} was changed after its run wrote it; restore it, or repeat its run with --force."
            )
        return RunRecord.model_validate(read)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise StorageError(
            f"{path} is no run record: {where}: {first['msg']}; restore it or remove its folder."
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StorageError(
            f"{path} is no run record: it is not the JSON of one; restore it or remove its folder."
        ) from error


def _seal(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
