"""Runs from bundles into a store: all of them, or none and every reason."""

import hashlib
import json
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from regbench.api import PairId, Protocol
from regbench.data.files.atomic import flush, neighbour, storage_errors, sweep
from regbench.errors import BadValueError, StorageError
from regbench.results.bundle import LAYOUT, MANIFEST, RECORD, Manifest, is_packed
from regbench.results.cases import read_cases
from regbench.results.lock import LOCK, is_locked
from regbench.results.record import SCHEMA_VERSION, RunRecord
from regbench.results.store import RunFolder, Store

_WORD = re.compile(r"\w[\w.+-]{0,99}")
_MOST_BYTES = 16 << 30
_BLOCK = 1 << 20
_CIRCUMSTANCES: Any = {
    **dict.fromkeys(("machine", "cost", "started", "finished", "files"), True),
    "method": {"source"},  # the id has it already, and older records do not
    "masks": {"digest"},  # older records do not have it
}

Run = tuple[RunFolder, RunRecord]


class _Unfit(Exception):  # noqa: N818 - no error of ours: it never leaves this module
    """What is wrong with a bundle or with a run of one."""


@dataclass(frozen=True)
class Merged:
    """What became of some bundles.

    Attributes:
        added: the records that were taken in.
        present: those whose result the store has already, whoever made it; nothing of them is taken.
    """

    added: tuple[RunRecord, ...]
    present: tuple[RunRecord, ...]


def merge_bundles(bundles: Sequence[Path], store: Store) -> Merged:
    """Take the runs of bundles into a store.

    Args:
        bundles: files that `write_bundle` wrote.
        store: which need not exist yet.

    Raises:
        BadValueError: with every bundle and run that does not fit; nothing is taken in then.
        StorageError: where the store cannot be written; nothing is taken in then either.
    """
    faults: list[str] = []
    known = list(store.list())
    added: list[Run] = []
    present: list[RunRecord] = []
    with storage_errors(store.root), _workspace(store.root) as workspace:
        for number, bundle in enumerate(bundles):
            try:
                unpacked = _unpack(bundle, workspace / str(number))
            except _Unfit as fault:
                faults.append(f"{bundle} {fault}")
                continue
            for run in unpacked:
                try:
                    here = _fit(run, known)
                except _Unfit as fault:
                    faults.append(f"{bundle}: the run {run[1].run_id} ({run[1].row}, {run[1].task}) {fault}")
                    continue
                if here:
                    present.append(run[1])
                else:
                    known.append(run)
                    added.append(run)
        if faults:
            raise BadValueError("\n".join([*faults, "Nothing was taken in."]))
        _move_in(added, store)
    return Merged(tuple(record for _, record in added), tuple(present))


@contextmanager
def _workspace(root: Path) -> Iterator[Path]:
    """A hidden folder on the store's own file system, gone when the block ends."""
    folder = neighbour(root / "merge")
    folder.mkdir(parents=True)
    sweep(root)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(bundle: Path, folder: Path) -> list[Run]:
    """Every run of a bundle, its files checked and below a folder."""
    if not bundle.is_file():
        raise _Unfit("is missing; expected a file that 'regbench bundle' wrote.")
    try:
        with zipfile.ZipFile(bundle) as archive:
            manifest = _manifest(archive)
            for name, digest in manifest.files.items():
                _extract(archive, name, digest, folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _Unfit(f"is no whole bundle ({error}); fetch or write it again.") from error
    return [_opened(path.parent) for path in sorted(folder.rglob(RECORD))]


def _manifest(archive: zipfile.ZipFile) -> Manifest:
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    if MANIFEST not in names:
        raise _Unfit(f"is no bundle: it has no {MANIFEST}; expected a file that 'regbench bundle' wrote.")
    if sum(entry.file_size for entry in entries) > _MOST_BYTES:
        raise _Unfit(f"unpacks to more than {_MOST_BYTES >> 30} GiB; bundle it without fields.")
    try:
        content = json.loads(archive.read(MANIFEST))
        layout, schema = content["layout"], content["schema_version"]
        if layout != LAYOUT or schema != SCHEMA_VERSION:
            raise _Unfit(f"has layout {layout} and records of schema {schema}; this regbench takes layout {LAYOUT} and "
                         f"schema {SCHEMA_VERSION}: use the version that wrote it.")  # fmt: skip
        manifest = Manifest.model_validate(content)
    except (ValidationError, ValueError, KeyError, TypeError) as error:
        raise _Unfit(f"has a {MANIFEST} that cannot be read; write it again.") from error
    if sorted(names) != sorted([MANIFEST, *manifest.files]):
        raise _Unfit(f"holds other files than its {MANIFEST} lists; write it again.")
    for entry in entries:
        if entry.filename != MANIFEST and not _is_harmless(entry):
            raise _Unfit(f"holds {entry.filename!r}, which is no file of a run; nothing of it is used.")
    return manifest


def _is_harmless(entry: zipfile.ZipInfo) -> bool:
    """Whether an entry is a plain file TASK/RUN-ID/FILE of a kind that bundles hold."""
    task, _, rest = entry.filename.partition("/")
    run_id, _, name = rest.partition("/")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    words = (task, run_id, *name.split("/"))
    return all(_WORD.fullmatch(word) for word in words) and is_packed(name) and kind in (0, stat.S_IFREG)


def _extract(archive: zipfile.ZipFile, name: str, digest: str, folder: Path) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    found = hashlib.sha256()
    with archive.open(name) as source, path.open("wb") as target:
        while block := source.read(_BLOCK):
            found.update(block)
            target.write(block)
    if found.hexdigest() != digest:
        raise _Unfit(f"was changed after it was written: the sha256 of {name} is not that of its {MANIFEST}.")


def _opened(folder: Path) -> Run:
    run = RunFolder(folder)
    try:
        record = run.load()
    except StorageError as error:
        said = str(error).replace(f"{folder}/", "")
        raise _Unfit(f"holds a run that cannot be read: {said}") from error
    if record is None or record.schema_version != SCHEMA_VERSION:
        raise _Unfit(f"holds a record of another schema than {SCHEMA_VERSION}; use the version that wrote it.")
    return run, record


def _fit(run: Run, known: Sequence[Run]) -> bool:
    """Whether a run is there already; a fault if it is not sound, or contradicts one that is."""
    folder, record = run
    _check_itself(folder, record)
    for other_folder, other in known:
        if other.run_id == record.run_id:
            if _same_content(run, (other_folder, other)):
                return True
            raise _Unfit(f"is there already, with other content, in {other_folder.path}; remove one of the two.")
    for _, other in known:
        if _names(other) == _names(record):
            _check_beside(record, other)
    return False


def _names(record: RunRecord) -> tuple[object, ...]:
    """What says by name which protocol and which scans are meant."""
    return record.task, record.data.kind, record.data.settings, record.protocol.name


def _check_itself(folder: RunFolder, record: RunRecord) -> None:
    place = folder.path
    if (record.task, record.run_id) != (place.parent.name, place.name):
        raise _Unfit(f"lies in the bundle as {place.parent.name}/{place.name}; write the bundle again.")
    if not record.row.strip(" ."):
        raise _Unfit("has no name for its row.")
    if record.status != "done":
        raise _Unfit(f"is {record.status}, not done; only finished runs are taken in.")
    if "cases.csv" not in record.files:
        raise _Unfit("has no digest of its cases.csv; run it again.")
    for name, digest in folder.digests().items():
        if record.files.get(name) != digest:
            raise _Unfit(f"was edited: the sha256 of its {name} is not that of its record.")
    if not folder.cases.is_file():
        raise _Unfit("has no cases.csv.")
    _check_rows(folder, record)


def _check_rows(folder: RunFolder, record: RunRecord) -> None:
    try:
        rows = read_cases(folder.cases)
    except StorageError as error:
        raise _Unfit("has a cases.csv that cannot be read.") from error
    pairs, labels = set(record.protocol.test_pairs), {None, *record.protocol.labels}
    for row in rows:
        if PairId(row.fixed, row.moving) not in pairs or row.label not in labels or row.metric not in record.metrics:
            raise _Unfit(f"has a row that its protocol or its metrics do not know: {row.metric} of {row.pair}.")


def _same_content(one: Run, other: Run) -> bool:
    """Whether two runs of one id are the same result; when and on what machine each was made may differ."""
    first, second = (record.model_dump(mode="json", exclude=_CIRCUMSTANCES) for _, record in (one, other))
    return first == second and _cases_digest(one[0]) == _cases_digest(other[0])


def _cases_digest(folder: RunFolder) -> str | None:
    return hashlib.sha256(folder.cases.read_bytes()).hexdigest() if folder.cases.is_file() else None


def _check_beside(record: RunRecord, other: RunRecord) -> None:
    """Whether two runs of one protocol's name mean the same protocol, and the same scans."""
    mine, theirs = record.protocol, other.protocol
    said = f"the run {other.run_id} ({other.row})"
    if mine.revision != theirs.revision:
        raise _Unfit(f"is of protocol {mine.name} revision {mine.revision}; {said} is of revision {theirs.revision}.")
    if record.data.pairs != other.data.pairs or _pairs(mine) != _pairs(theirs):
        raise _Unfit(f"has other pairs in its protocol {mine.name} than {said}.")
    # Phantoms are made on the grid of the run, so that their files differ from grid to grid.
    same_files = record.data.kind == "real" or mine.grid == theirs.grid
    if same_files and record.data.fingerprint != other.data.fingerprint:
        raise _Unfit(f"was made on other data (fingerprint {record.data.fingerprint[:8]}…) than {said}, whose protocol "
                     f"{mine.name} it shares ({other.data.fingerprint[:8]}…).")  # fmt: skip


def _pairs(protocol: Protocol) -> tuple[tuple[PairId, ...], ...]:
    return protocol.train_pairs, protocol.validation_pairs, protocol.test_pairs


def _move_in(runs: Sequence[Run], store: Store) -> None:
    """Each run in its place by one rename; if one of them fails, those before it go out again."""
    with ExitStack() as undo:
        for folder, record in runs:
            target = store.folder(record.task, record.row, record.run_id).path
            for file in folder.path.rglob("*"):
                flush(file)
            target.parent.mkdir(parents=True, exist_ok=True)
            _make_way(target)
            folder.path.rename(target)
            undo.callback(shutil.rmtree, target, ignore_errors=True)
            flush(target.parent)
        undo.pop_all()


def _make_way(target: Path) -> None:
    """Take away the folder of a run that never began, which holds a lock at most."""
    if not target.exists():
        return
    if is_locked(target) or any(path.name != LOCK for path in target.iterdir()):
        raise StorageError(
            f"{target} is in the way: another process is at work on it, or it holds no run that can be read; wait for "
            "its process and merge again, or remove it."
        )
    shutil.rmtree(target)
