"""The pictures: which pair, which slices, which way round, and what is drawn of a field."""

import base64
import re
import zlib
from dataclasses import replace

import numpy as np
import torch

from regbench.api import Field, PairId, Protocol
from regbench.data import Cohort
from regbench.leaderboard import Board
from regbench.report.pictures.cuts import FOLDED, GROWTH
from regbench.report.pictures.panels import jacobian_panel, moved_panel
from regbench.report.pictures.scene import Scene, scene
from regbench.report.pictures.side_by_side import Gallery, Sources, gallery
from regbench.report.pictures.slices import Plane, median_pair, planes
from regbench.results import DataRecord

PAIR = PairId("0001", "0004")


def scene_of(cohort: Cohort, shift: tuple[float, float, float]) -> Scene:
    grid = cohort.pair(PAIR).grid
    u = torch.tensor(shift).view(3, 1, 1, 1).expand(3, *grid.shape).contiguous()
    return scene(cohort, PAIR, Field(u, grid))


def test_the_median_pair_by_initial_dice(board: Board) -> None:
    means = board.initial.values["dsc"][0].mean(axis=1)
    expected = board.protocol.test_pairs[int(np.argsort(means)[2])]
    assert median_pair(board) == expected
    without = replace(board, rows=tuple(row for row in board.rows if not row.is_initial))
    assert median_pair(without) == board.protocol.test_pairs[2]


def test_slices_go_through_the_largest_labelled_area() -> None:
    labels = np.zeros((20, 16, 24), np.uint8)
    labels[4:9, 5:8, 10:12] = 1
    labels[4:12, 5:9, 11] = 2
    axial, coronal = planes(labels, (1.0, 1.0, 2.0))
    assert (axial.name, axial.across, axial.place, axial.spacing_mm) == ("axial", 2, 11, (1.0, 1.0))
    assert (coronal.name, coronal.across, coronal.spacing_mm) == ("coronal", 1, (1.0, 2.0))
    assert (labels[:, coronal.place] > 0).sum() == max((labels[:, j] > 0).sum() for j in range(16))
    assert [plane.name for plane in planes(labels[:, :, :6], (1.0, 1.0, 3.0))] == ["axial"]
    assert planes(np.zeros((9, 9, 9), np.uint8), (1.0, 1.0, 1.0))[0].place == 4


def test_a_slice_has_its_axes_right() -> None:
    volume = np.arange(4 * 5 * 6).reshape(4, 5, 6)
    assert Plane("axial", 2, 3, (1.0, 1.0)).cut(volume)[4, 2] == volume[2, 4, 3]
    assert Plane("coronal", 1, 3, (1.0, 1.0)).cut(volume)[5, 2] == volume[2, 3, 5]
    u = np.stack([np.full((4, 5, 6), n, np.float32) for n in range(3)])
    assert Plane("coronal", 1, 3, (1.0, 1.0)).cut_field(u)[:, 0, 0].tolist() == [0, 2]


def test_a_scene_without_and_with_a_shift(toy_cohort: Cohort) -> None:
    still = scene_of(toy_cohort, (0.0, 0.0, 0.0))
    np.testing.assert_allclose(still.moved, still.moving, atol=1e-6)
    np.testing.assert_array_equal(still.moved_labels, still.moving_labels)
    assert (still.determinant[2:-2, 2:-2, 2:-2] == 1).all()
    assert np.isnan(still.determinant[0]).all()
    shifted = scene_of(toy_cohort, (2.0, 0.0, 0.0))
    np.testing.assert_allclose(shifted.moved[:-2], shifted.moving[2:], atol=1e-6)
    np.testing.assert_array_equal(shifted.moved_labels[:-2], shifted.moving_labels[2:])


def image_in(svg: str) -> np.ndarray:
    """The first embedded PNG, decoded by hand: 8-bit RGBA, as the standard says."""
    raw = base64.b64decode(re.search(r"base64,\s*([^\"]+)", svg)[1])
    width, height = (int.from_bytes(raw[16 + 4 * n : 20 + 4 * n], "big") for n in range(2))
    data, place = b"", 8
    while place < len(raw):
        length, kind = int.from_bytes(raw[place : place + 4], "big"), raw[place + 4 : place + 8]
        data += raw[place + 8 : place + 8 + length] if kind == b"IDAT" else b""
        place += length + 12
    lines = np.frombuffer(zlib.decompress(data), np.uint8).reshape(height, 1 + 4 * width).astype(int)
    out = np.zeros((height, 4 * width), int)
    for n, (kind, *line) in enumerate(lines):
        for m, value in enumerate(line):
            left = out[n, m - 4] if m >= 4 else 0
            above = out[n - 1, m] if n else 0
            corner = out[n - 1, m - 4] if n and m >= 4 else 0
            guess = left + above - corner
            near = min((left, above, corner), key=lambda v: (abs(guess - v), (left, above, corner).index(v)))
            out[n, m] = (value + (0, left, above, (left + above) // 2, near)[kind]) % 256
    return out.reshape(height, width, 4)


def test_the_patients_right_is_on_the_left_and_the_front_is_up(toy_cohort: Cohort) -> None:
    still = scene_of(toy_cohort, (0.0, 0.0, 0.0))
    marked = np.zeros_like(still.moved)
    # RAS+: the first axis runs to the patient's right as it ends; high i is right, high j is front.
    marked[20:, 15:, :] = 1.0
    plane = Plane("axial", 2, 5, (3.0, 4.0))
    svg = moved_panel(replace(still, moved=marked), plane, "x")
    picture = image_in(svg)[..., 0]
    across, _, _, down, left, top = (
        float(number) for number in re.search(r'<image[^>]*transform="matrix\(([^)]*)\)"', svg)[1].split()
    )
    _, _, width, height = (float(number) for number in re.search(r'viewBox="([^"]*)"', svg)[1].split())
    rows, columns = np.nonzero(picture > 128)
    assert (rows.size, picture.shape) == (4 * 5, (20, 24))
    assert (left + across * (columns + 0.5) < width / 2).all()
    assert (top + down * (rows + 0.5) < height / 2).all()


def test_folding_is_drawn_in_black(toy_cohort: Cohort) -> None:
    still = scene_of(toy_cohort, (0.0, 0.0, 0.0))
    folded = still.determinant.copy()
    folded[8:12, 8:12] = -0.5
    plane = Plane("axial", 2, 10, (3.0, 4.0))
    assert jacobian_panel(still, plane, "x").count("<image") == 1
    assert jacobian_panel(replace(still, determinant=folded), plane, "x").count("<image") == 2


def test_nothing_but_folding_is_nearly_black() -> None:
    assert FOLDED == "#000000"
    assert GROWTH(np.linspace(0, 1, 101))[:, :3].max(axis=1).min() > 0.4


def test_every_row_is_drawn_alike_or_says_why_not(drawn: Gallery, board: Board) -> None:
    assert [picture.row for picture in drawn.pictures] == [row.name for row in board.rows]
    by_name = {picture.row: picture for picture in drawn.pictures}
    assert by_name["Poor"].why_not == "No picture: Its weights are gone."
    assert by_name["Poor"].strips == ()
    others = [picture for picture in drawn.pictures if picture.row != "Poor"]
    for picture in others:
        assert [title for strip in picture.strips for title, _ in strip.panels] == [
            "Moved", "Contours", "Deformed grid", "det J",
        ] * len(others[0].strips)  # fmt: skip
        assert [strip.plane for strip in picture.strips] == [strip.plane for strip in others[0].strips]
    assert len(drawn.shared) == 2 * len(others[0].strips)
    assert [name for name, _ in drawn.colours] == ["north", "south", "middle"]


def test_the_score_is_that_of_the_pair(drawn: Gallery, board: Board) -> None:
    row = board.rows[1]
    expected = row.values["dsc"][0, board.protocol.test_pairs.index(drawn.pair)].mean()
    assert abs(drawn.pictures[1].score - expected) < 1e-9


def test_real_scans_that_were_not_given_are_asked_for(board: Board, sources: Sources, toy_protocol: Protocol) -> None:
    real = replace(board, data=DataRecord(kind="real", fingerprint="f" * 16, pairs="p" * 16))
    found = gallery(real, sources, "g1")
    assert all("regbench report --data toy=DIR" in picture.why_not for picture in found.pictures)
    assert found.shared == ()
    missing = gallery(board, replace(sources, folders={}), "g2")
    assert all("folder is not here" in picture.why_not for picture in missing.pictures)
