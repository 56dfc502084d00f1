"""Boards for other programs: long csv, and json."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence, Set
from typing import Any

import numpy as np

from regbench.leaderboard.board import PRIMARY, Board
from regbench.leaderboard.formats.caption import remarks
from regbench.leaderboard.row import Row
from regbench.leaderboard.statistics.ranks import ranks
from regbench.leaderboard.views.columns import dice30
from regbench.leaderboard.views.comparison import Compared, compare
from regbench.leaderboard.views.l2r import ranking
from regbench.leaderboard.views.making import masks_at_test, masks_in_training, supervision
from regbench.leaderboard.views.masks_alone import all_masks_alone
from regbench.leaderboard.views.numbers import mean_cost
from regbench.leaderboard.views.published import published_tables
from regbench.leaderboard.views.worst import harmed, lowest_tenth, worst_pair

FIELDS = (
    "origin", "task", "data", "fingerprint", "protocol", "revision", "grid", "row", "method", "version", "masks",
    "masks_used", "saw_test_labels", "preset", "seeds", "metric", "label", "unit", "pairs", "mean", "std", "seed_std",
    "low95", "high95", "difference_to_best", "difference_low95", "difference_high95", "p_holm", "source",
)  # fmt: skip
_WHERE = frozenset({"task", "data", "fingerprint", "protocol", "revision", "grid"})
_WHO = frozenset(
    {"origin", "row", "method", "version", "masks", "masks_used", "saw_test_labels", "preset", "seeds", "source"}
)
_COSTS = (("seconds_per_pair", "s"), ("peak_memory_mib", "MiB"), ("parameters", ""))


def to_csv(boards: Sequence[Board], *, published: bool = True) -> str:
    """One line a row, metric and structure (label "" is the mean over structures, or a number of the whole pair)."""
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, restval="", lineterminator="\n")
    writer.writeheader()
    for board in boards:
        writer.writerows(_measured_lines(board))
        writer.writerows(_masks_lines(board))
        if published:
            writer.writerows(_published_lines(board))
    return text.getvalue()


def to_json(boards: Sequence[Board], *, published: bool = True, learn2reg: bool = False) -> str:
    """The boards with all that is known of their rows, and the runs that gave none.

    Args:
        boards: what to write.
        published: whether published numbers of the same task and protocol are among them.
        learn2reg: whether the Learn2Reg ranking is, which takes seconds.
    """
    data = [_board_json(board, published=published, learn2reg=learn2reg) for board in boards]
    return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)


def _board_json(board: Board, *, published: bool, learn2reg: bool) -> dict[str, Any]:
    lines = list(_measured_lines(board))
    return {
        **_where(board),
        "title": board.task_title,
        "pairs": len(board.protocol.test_pairs),
        "patients": len(board.patients),
        "labels": {str(number): name for number, name in board.protocol.labels.items()},
        "metrics": {name: metric.model_dump() for name, metric in board.metrics.items()},
        "rows": [
            {
                "name": row.name,
                "ranked": row.is_ranked,
                "saw_test_labels": row.saw_test_labels,
                "seeds": [run.seed for run in row.runs],
                "runs": [run.run_id for run in row.runs],
                "timed_beside_others": [run.run_id in board.beside_others for run in row.runs],
                "method": row.record.method.model_dump(mode="json"),
                "masks": row.record.masks.model_dump(mode="json") if row.record.masks else None,
                "masks_in_training": masks_in_training(row),
                "masks_at_test": masks_at_test(row),
                "supervision": supervision(row),
                "worst_pair": worst_pair(row)[0],
                "training": [run.training.model_dump(mode="json") for run in row.runs if run.training],
                "cost": [run.cost.model_dump(mode="json") for run in row.runs],
                "machines": [run.machine.model_dump(mode="json") for run in row.runs],
                "values": [_slim(line, _WHO) for line in lines if line["row"] == row.name],
            }
            for row in board.rows
        ],
        "masks_alone": [_slim(line, {"origin"}) for line in _masks_lines(board)],
        "learn2reg_ranking": _learn2reg(board) if learn2reg else [],
        "average_ranks": _average_ranks(board),
        "published": [_slim(line, {"origin"}) for line in _published_lines(board)] if published else [],
        "published_notes": list(_published_notes(board)) if published else [],
        "remarks": remarks(board),
        "protocol_notes": list(board.protocol.notes),
        "without_row": [
            {"name": f.name, "seed": f.seed, "status": f.status, "reason": f.reason, "run": f.run_id}
            for f in board.failures
        ],
    }


def _slim(line: dict[str, Any], said: Set[str]) -> dict[str, Any]:
    """What a line says beyond the board and what has been said."""
    return {key: value for key, value in line.items() if key not in _WHERE | said and value != ""}


def _where(board: Board) -> dict[str, Any]:
    return {
        "task": board.task,
        "data": board.data.kind,
        "fingerprint": board.data.fingerprint,
        "protocol": board.protocol.name,
        "revision": board.protocol.revision,
        "grid": "x".join(str(n) for n in board.protocol.grid.shape),
    }


def _who(row: Row) -> dict[str, Any]:
    record = row.record
    return {
        "origin": "measured",
        "row": row.name,
        "method": record.method.name,
        "version": f"{record.method.distribution} {record.method.version}",
        "masks": record.masks.name if record.masks else "",
        "masks_used": record.masks.used if record.masks else "none",
        "saw_test_labels": row.saw_test_labels,
        "preset": record.preset,
        "seeds": len(row.runs),
    }


def _measured_lines(board: Board) -> Iterator[dict[str, Any]]:
    compared = {name: compare(board, name) for name in board.metrics}
    hard = dice30(board)
    for place, row in enumerate(board.rows):
        shared = {**_where(board), **_who(row)}
        for name in row.values:
            yield shared | _mean_line(board, row, name, compared[name][place])
            if name in row.by_label:
                yield from (shared | line for line in _label_lines(board, row, name))
        yield from (shared | line for line in _worst_lines(board, row, hard[place]))
        for name, unit in _COSTS:
            value = mean_cost(row, name)
            if value is not None:
                yield shared | {"metric": name, "unit": unit, "mean": value}


def _mean_line(board: Board, row: Row, name: str, compared: Compared) -> dict[str, Any]:
    return {
        "metric": name,
        "unit": board.metrics[name].unit,
        "pairs": int(np.isfinite(row.per_pair(name)).sum()),
        "mean": _blank(row.mean(name)),
        "std": _blank(row.std(name)),
        "seed_std": _blank(row.seed_std(name)),
        "low95": _blank(compared.interval[0]),
        "high95": _blank(compared.interval[1]),
        "difference_to_best": _blank(compared.difference),
        "difference_low95": _blank(compared.difference_interval[0]),
        "difference_high95": _blank(compared.difference_interval[1]),
        "p_holm": _blank(compared.p),
    }


def _worst_lines(board: Board, row: Row, hardest: float) -> Iterator[dict[str, Any]]:
    if PRIMARY not in row.values:
        return
    unit = board.metrics[PRIMARY].unit
    values = (
        ("dice30", unit, hardest),
        ("worst_pair", unit, worst_pair(row)[1]),
        ("lowest_tenth", unit, lowest_tenth(row)),
        ("harmed", "%", harmed(row, board.initial)),
    )
    yield from ({"metric": name, "unit": unit, "mean": value} for name, unit, value in values if np.isfinite(value))


def _label_lines(board: Board, row: Row, name: str) -> Iterator[dict[str, Any]]:
    labels = list(board.protocol.labels.values())
    values = row.per_label(name)
    for label, value in zip(labels, values, strict=True):
        yield {"metric": name, "unit": board.metrics[name].unit, "label": label, "mean": _blank(float(value))}


def _masks_lines(board: Board) -> Iterator[dict[str, Any]]:
    """The masks' own Dice: nothing that a method reached."""
    for alone in all_masks_alone(board):
        masks = alone.masks
        shared = {
            **_where(board), "origin": "masks alone", "row": alone.name, "masks": masks.name,
            "version": f"{masks.distribution} {masks.version}", "masks_used": "none",
            "saw_test_labels": masks.saw_test_labels, "metric": PRIMARY, "unit": board.metrics[PRIMARY].unit,
        }  # fmt: skip
        yield shared | {"pairs": len(alone.values), "mean": _blank(alone.mean), "std": _blank(alone.std)}
        for label, value in zip(board.protocol.labels.values(), alone.by_label, strict=True):
            yield shared | {"label": label, "mean": _blank(value)}


def _published_lines(board: Board) -> Iterator[dict[str, Any]]:
    for table in [*published_tables(board), *published_tables(board, ablation=True)]:
        for row in table.rows:
            shared = {
                **_where(board), "origin": "published", "row": row.method, "masks_used": row.masks,
                "source": f"{table.source}, {table.where}", "fingerprint": "", "grid": "",
            }  # fmt: skip
            for metric, mean in row.mean.items():
                yield shared | {"metric": metric, "mean": mean, "std": row.std.get(metric, "")}
            for label, value in row.by_label.items():
                yield shared | {"metric": PRIMARY, "label": label, "mean": value}


def _published_notes(board: Board) -> Iterable[str]:
    tables = [*published_tables(board), *published_tables(board, ablation=True)]
    return dict.fromkeys(note for table in tables for note in table.notes)


def _learn2reg(board: Board) -> list[dict[str, Any]]:
    return [{"row": row.name, **score} for row, score in ranking(board)]


def _average_ranks(board: Board) -> dict[str, Any] | None:
    found = ranks(board)
    if found is None:
        return None
    names = [row.name for row in found.rows]
    pairwise = [dict(zip(names, line.tolist(), strict=True)) for line in found.pairwise]
    return {
        "rows": dict(zip(names, found.average, strict=True)),
        "pairs": found.pairs,
        "friedman": found.statistic,
        "p": found.p,
        "p_holm": dict(zip(names, pairwise, strict=True)),
        "not_told_apart": [names[first : last + 1] for first, last in found.cliques],
    }


def _blank(value: float) -> float | str:
    return value if np.isfinite(value) else ""
