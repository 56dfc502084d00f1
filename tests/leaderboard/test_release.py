"""The runs that a release brings along: whole, unedited, and without scans or weights."""

from regbench.leaderboard import boards, measured
from regbench.results import Store
from regbench_leaderboards import measured_runs


def test_every_run_is_done_and_its_files_are_those_that_it_wrote() -> None:
    listing = Store(measured_runs()).list()
    assert listing.faults == ()
    assert len(listing) > 0
    for folder, record in listing:
        assert record.status == "done"
        assert folder.path.name == record.run_id
        present = folder.digests()
        assert present.items() <= record.files.items()
        assert set(present) <= {"cases.csv", "history.csv"}


def test_they_make_boards_with_the_unregistered_state() -> None:
    found, faults = measured(Store(measured_runs()))
    assert faults == []
    assert {board.task for board in boards(found)} == {"abdomen", "acdc"}
    for board in boards(found):
        assert "Initial" in {row.name for row in board.rows}
