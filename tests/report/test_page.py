"""The page: whole in itself, says what the board says, the same at every writing."""

import re
from collections import Counter
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from regbench.errors import BadValueError
from regbench.leaderboard import Board, Row, sheets
from regbench.report import page, write_page
from regbench.report.plots.looks import OKABE_ITO, looks


def test_nothing_is_fetched(text: str) -> None:
    bare = text.replace('xmlns="http://www.w3.org/2000/svg"', "").replace(
        'xmlns:xlink="http://www.w3.org/1999/xlink"', ""
    )
    assert not re.findall(r"https?://[^\s\"']*", bare)
    for place in re.findall(r"(?:src|href)=\"([^\"]*)\"", bare):
        assert place.startswith(("#", "data:")), place
    assert not re.findall(r"@import|url\((?!#)", bare)


def test_ids_are_unique_and_what_is_pointed_at_is_there(text: str) -> None:
    ids = Counter(re.findall(r"\bid=\"([^\"]+)\"", text))
    assert [name for name, count in ids.items() if count > 1] == []
    pointed = set(re.findall(r"href=\"#([^\"]+)\"", text)) | set(re.findall(r"url\(#([^)]+)\)", text))
    assert pointed - set(ids) == set()
    assert len(pointed) > 20


def words_of(text: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", text)).split())


def test_every_cell_and_every_note_of_the_sheets_is_there(text: str, board: Board) -> None:
    words = words_of(text)
    for sheet in sheets(board):
        assert " ".join(sheet.title.split()) in words
        for row in sheet.rows:
            line = " ".join(" ".join(cell.text for cell in row).split())
            assert line in words
        for note in sheet.notes:
            assert note in words


def test_names_are_escaped(text: str) -> None:
    assert "Fair <b>" not in text
    assert "Fair &lt;b&gt;&amp;&lt;/b&gt;" in text


def test_phantoms_failures_and_the_ways_rows_were_made_are_said(text: str) -> None:
    words = words_of(text)
    assert "Synthetic scans made by regbench" in words
    assert "Broken, seed 0: failed: It broke." in words
    assert "weights = weights.pt" in words
    assert "/secret/place" not in text
    assert "Blobs, not scans." in words


def test_statistics_are_named(text: str) -> None:
    words = words_of(text)
    assert "Friedman's test, χ² =" in words
    assert "Wilcoxon's signed-rank test, Holm-corrected over all 6 comparisons" in words
    assert "With 6 pairs and 6 tests no p can be below 0.05" in words
    assert "bootstrap of the 4 test patients" in words


def test_ablations_stand_in_the_page_by_themselves(board: Board) -> None:
    from dataclasses import replace

    full, other, *_ = (row for row in board.rows if row.record.method.name in ("good", "fair"))

    def with_contour(row: Row, on: bool, name: str) -> Row:
        method = full.record.method.model_copy(update={"configuration": {"contour": on}})
        record = full.record.model_copy(update={"method": method, "row": name, "masks": None})
        return replace(row, name=name, runs=(record,))

    rows = (with_contour(full, True, "good"), with_contour(other, False, "good[-contour]"))
    words = words_of(page([replace(board, rows=rows)], {}))
    assert words.count("Ablations of Good") == 1
    assert "good[ -contour] – " in words  # a narrow column may break the name after the bracket
    assert "good ✓ " in words
    assert "Ablations of" not in words_of(page([board], {}))


def test_the_same_bytes_again(board: Board, folders, drawn, text: str) -> None:
    assert page([board], folders, lambda *_: drawn) == text


def test_without_pictures_or_published_rows_or_boards(board: Board) -> None:
    bare = page([board], {}, published=False)
    assert "One pair, registered by every row" not in bare
    assert "Training</h3>" not in bare
    assert "There are no runs yet" in page([], {})


def test_a_board_of_failures_alone(board: Board) -> None:
    from dataclasses import replace

    words = words_of(page([replace(board, rows=())], {}, lambda *_: pytest.fail("nothing to draw")))
    assert "Broken, seed 0: failed: It broke." in words


def test_where_it_is_written(tmp_path: Path) -> None:
    assert write_page("x", tmp_path / "new" / "folder") == tmp_path / "new" / "folder" / "index.html"
    assert write_page("x", tmp_path / "mine.html").read_text() == "x"
    (tmp_path / "file").write_text("")
    with pytest.raises(BadValueError, match="is a file"):
        write_page("x", tmp_path / "file")


def test_rows_of_a_method_share_a_colour_and_no_two_rows_look_alike(board: Board) -> None:
    found = dict(zip([row.name for row in board.rows], looks(board.rows), strict=True))
    assert found["Good"].colour == found["Good + files"].colour
    assert len({(look.colour, look.marker) for look in found.values()}) == len(found)
    assert sum(look.is_first for look in found.values()) == 3
    assert len({look.colour for look in found.values()}) == 4
    # Every colour stands out from white paper: WCAG's contrast for graphics would be 3; yellow would have 1.3.
    for colour in OKABE_ITO:
        channels = np.array([int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)])
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        assert 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05) > 2
