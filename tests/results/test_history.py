from pathlib import Path

from regbench.results import History


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_lines_have_the_named_columns(tmp_path: Path) -> None:
    history = History(tmp_path / "history.csv", ("similarity", "smooth"))
    history.add({"step": 1, "seconds": 0.5, "learning_rate": 1e-4, "total": 0.25, "similarity": 0.125, "other": 9})
    history.add({"step": 2, "smooth": 1 / 3})
    history.amend({"validation": 50.0})
    history.write()
    assert lines(tmp_path / "history.csv") == [
        "step,seconds,learning_rate,total,similarity,smooth,validation",
        "1,0.5,0.0001,0.25,0.125,,",
        "2,,,,,0.33333333,50",
    ]


def test_resuming_drops_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    first = History(path, ("a",))
    for step in range(1, 6):
        first.add({"step": step, "a": step / 2})
    first.write()
    kept = lines(path)[:4]
    second = History(path, ("a",))
    second.resume(3)
    second.write()
    assert lines(path) == kept
    second.add({"step": 4, "a": 7})
    second.write()
    assert lines(path) == [*kept, "4,,,,7,"]


def test_resuming_with_other_terms_or_a_damaged_file_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    ours = b"step,seconds,learning_rate,total,a,validation\n"
    for content in (ours.replace(b",a,", b",b,") + b"1,,,,3,\n", ours + b"\n1,,,,3,\n", b"\xff\xfe", b""):
        path.write_bytes(content)
        history = History(path, ("a",))
        history.resume(9)
        history.write()
        assert lines(path) == ["step,seconds,learning_rate,total,a,validation"]
