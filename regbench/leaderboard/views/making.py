"""The sheet that tells how each row was made: masks, training, seeds, network, code, machine."""

from regbench.leaderboard.board import Board
from regbench.leaderboard.row import Row
from regbench.leaderboard.views.columns import NAME, Column, name_cells, plain_column
from regbench.leaderboard.views.sheet import EMPTY, YES, Head, Sheet, counted, sheet, significant
from regbench.results import MachineRecord

_SUPERVISION = {
    "none": "none, a network trained on images alone",
    "masks": "masks, weakly supervised by the source's masks",
    "true labels": "true labels, weakly supervised by the experts' own",
}


def making(board: Board) -> Sheet:
    """How each row was made."""
    rows = board.rows
    columns: list[Column] = [
        (NAME, name_cells(rows)),
        plain_column(Head("Masks", "train", meaning="seen in training, seen at test"), rows, _in_training),
        plain_column(Head("Masks", "test"), rows, _at_test),
        plain_column(Head("Source", is_text=True), rows, _mask_source),
        plain_column(Head("Supervision", is_text=True), rows, supervision),
        plain_column(Head("Steps"), rows, _steps),
        plain_column(Head("Training", "min"), rows, _training_minutes),
        plain_column(Head("Seeds"), rows, lambda row: str(len(row.runs)) if row.record.training else EMPTY),
    ]
    if len({_code(row) for row in rows}) > 1:
        columns.append(plain_column(Head("Code", is_text=True), rows, _code))
    return sheet(
        "How each row was made", columns, [*_supervision_notes(board), *_mask_warnings(board), *_machines(board)]
    )


def masks_in_training(row: Row) -> bool:
    """Whether the losses saw masks."""
    return row.record.masks is not None and row.record.training is not None


def masks_at_test(row: Row) -> bool:
    """Whether the method saw masks of the test scans when it registered them."""
    return row.record.masks is not None and row.record.masks.used == "training and test"


def supervision(row: Row) -> str:
    """What the training learned from: nothing but the images, masks of a source, or true labels."""
    masks = row.record.masks
    if row.record.training is None:
        return "no training"
    if masks is None:
        return "none"
    return "true labels" if masks.saw_test_labels else "masks"


def _in_training(row: Row) -> str:
    return YES if masks_in_training(row) else EMPTY


def _at_test(row: Row) -> str:
    return YES if masks_at_test(row) else EMPTY


def _mask_source(row: Row) -> str:
    return row.record.masks.name if row.record.masks else EMPTY


def _supervision_notes(board: Board) -> list[str]:
    kinds = {supervision(row) for row in board.rows}
    notes = [_SUPERVISION[kind] for kind in _SUPERVISION if kind in kinds]
    return [f"Supervision: {'; '.join(notes)}."] if notes else []


def _steps(row: Row) -> str:
    steps = sorted({run.training.steps_done for run in row.runs if run.training})
    return "–".join(str(count) for count in (steps if len(steps) < 2 else (steps[0], steps[-1]))) or EMPTY


def _training_minutes(row: Row) -> str:
    seconds = [run.cost.wall_seconds["train"] for run in row.runs if run.training and "train" in run.cost.wall_seconds]
    return significant(sum(seconds) / len(seconds) / 60) if seconds else EMPTY


def _code(row: Row) -> str:
    return f"{row.record.method.distribution} {row.record.method.version}"


def _mask_warnings(board: Board) -> list[str]:
    """What the mask sources have seen."""
    seen = {
        f"Masks of {masks.title}, trained on: {masks.trained_on.rstrip('.')}."
        for row in board.rows
        if (masks := row.record.masks) and masks.trained_on
    }
    seen |= {
        f"The source {masks.title} may have seen the test scans."
        for row in board.rows
        if (masks := row.record.masks) and masks.saw_test_images and not masks.saw_test_labels
    }
    return sorted(seen)


def _machines(board: Board) -> list[str]:
    machines = sorted({_machine(run.machine) for row in board.rows for run in row.runs})
    codes = {_code(row) for row in board.rows}
    made = f"Measured {_days(board)}" + (f" with {codes.pop()}" if len(codes) == 1 else "")
    if len(machines) > 1:
        return [
            f"{made}. Times and memory come from {len(machines)} machines or settings and do not compare: "
            f"{'; '.join(machines)}."
        ]
    return [f"{made} on {machine}." for machine in machines]


def _days(board: Board) -> str:
    """The first and the last day on which a run ended, as far as they differ."""
    days = sorted((run.finished or run.started)[: len("2025-01-01")] for row in board.rows for run in row.runs)
    return days[0] if days[0] == days[-1] else f"from {days[0]} to {days[-1]}"


def _machine(machine: MachineRecord) -> str:
    threads = f", {counted(machine.threads, 'thread')}" if machine.threads else ""
    device = machine.accelerator or f"{machine.processor}, {counted(machine.cores, 'core')}{threads}"
    return f"{device}, {machine.system}, torch {machine.torch}, {machine.precision}"
