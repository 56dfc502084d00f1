"""The embedded cohorts: made once, kept in the cache, made again where they changed."""

import hashlib
import json
import sys
import zlib
from pathlib import Path

from regbench.api import Shape, Task
from regbench.data.files.atomic import remove_folder, replacing_folder, write_text
from regbench.data.files.folders import cache_folder, note_use
from regbench.registry import changed

_LIST = "files.json"


def phantom_folder(
    task_name: str, task: Task, *, shape: Shape, cases: int, seed: int, cache: Path | None = None
) -> Path:
    """The folder of a task's synthetic cohort, in the official layout; it is made at the first call.

    It is made again where the code of the task's package changed, or where files of it are gone or changed.

    Args:
        task_name: the task's name in the registry.
        task: the task.
        shape: of every scan.
        cases: number of patients.
        seed: of everything random.
        cache: where phantoms are kept; by default regbench's cache folder.

    Raises:
        StorageError: where it cannot be written.
    """
    what = [task_name, list(shape), cases, seed, _code(type(task)), *changed(task).items()]
    key = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]
    entry = (cache or cache_folder()) / "phantoms" / f"{task_name}-{cases}x{'x'.join(map(str, shape))}-{seed}-{key}"
    if entry.is_dir() and not _whole(entry):
        remove_folder(entry)
    if not entry.is_dir():
        with replacing_folder(entry) as temporary:
            task.phantom(temporary / "scans", cases=cases, seed=seed, shape=shape)
            write_text(temporary / _LIST, json.dumps(_checksums(temporary / "scans"), indent=1))
    note_use(entry)
    return entry / "scans"


def _checksums(folder: Path) -> dict[str, int]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): zlib.crc32(file.read_bytes()) for file in files}


def _whole(entry: Path) -> bool:
    try:
        return bool(json.loads((entry / _LIST).read_text()) == _checksums(entry / "scans"))
    except (OSError, ValueError):
        return False


def _code(task: type[Task]) -> str:
    """A digest of the source of the package that the task comes from: the generator's version, whoever wrote it."""
    top = sys.modules.get(task.__module__.partition(".")[0])
    paths = [Path(folder) for folder in getattr(top, "__path__", [])]
    files = sorted(file for folder in paths for file in folder.rglob("*.py"))
    if not files:
        origin = getattr(sys.modules.get(task.__module__), "__file__", None)
        files = [Path(origin)] if origin else []
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()
