"""The page in a real browser: it sorts, complains of nothing, and fits a phone.

Needs playwright and a Chromium (`pip install playwright`, and one of the browser packages of the system, or
`playwright install chromium`); skipped where either is missing.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "chrome-headless-shell")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        found = next(filter(None, map(shutil.which, BROWSERS)), None) or playwright.chromium.executable_path
        if not Path(found).is_file():
            pytest.skip("there is no Chromium here")
        opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def visit(browser: Any, page_file: Path) -> Iterator[Any]:
    """Opens the page at a width; at the end, nothing may have been complained of or fetched."""
    trouble: list[str] = []

    def open_at(width: int) -> Any:
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.on("console", lambda message: trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("request", lambda request: trouble.append(request.url) if ":" not in request.url[:5] else None)
        page.on("requestfailed", lambda request: trouble.append(request.url))
        page.on("request", lambda request: trouble.append(request.url) if request.url.startswith("http") else None)
        page.goto(page_file.as_uri())
        return page

    yield open_at
    assert trouble == []


def first_column(page: Any, table: int) -> list[str]:
    cells = page.locator("table.sortable").nth(table).locator("tbody tr > :first-child")
    return [" ".join(text.split()) for text in cells.all_inner_texts()]


def test_a_click_on_a_head_sorts_and_another_turns_round(visit: Any) -> None:
    page = visit(1280)
    table = page.locator("table.sortable").nth(1)
    names = first_column(page, 1)
    assert names[0] == "Initial"
    hd95 = table.locator("th", has_text="HD95")
    hd95.locator("button").click()
    assert hd95.get_attribute("aria-sort") == "ascending"
    assert first_column(page, 1)[0] == "Good + files"
    assert first_column(page, 1)[-1] == "Initial"
    hd95.locator("button").click()
    assert hd95.get_attribute("aria-sort") == "descending"
    assert first_column(page, 1) == ["Initial", "Poor", "Fair <b>&</b>", "Good", "Good + files"]
    dice = table.locator("th", has_text="DSC").first
    dice.locator("button").click()
    assert dice.get_attribute("aria-sort") == "descending"
    assert hd95.get_attribute("aria-sort") is None
    assert first_column(page, 1)[0] == "Good + files"
    method = table.locator("th", has_text="Method")
    method.locator("button").click()
    assert first_column(page, 1) == sorted(names, key=str.lower)
    # A cell without a value stays last, whichever way.
    param = table.locator("th", has_text="Param")
    for _ in range(2):
        param.locator("button").click()
        assert first_column(page, 1)[-1] == "Initial"


@pytest.mark.parametrize("width", [320, 375, 768, 1280])
def test_nothing_sticks_out_at_any_width(visit: Any, width: int) -> None:
    page = visit(width)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("document.body.scrollWidth") <= width


def test_letters_can_be_read_on_a_phone(visit: Any) -> None:
    """The words of the plots are at least 8 CSS pixels high once the figure is as wide as the phone."""
    page = visit(375)
    heights = page.evaluate(
        "Array.from(document.querySelectorAll('.panels svg text')).map(text => text.getBoundingClientRect().height)"
    )
    assert len(heights) > 50
    assert min(height for height in heights if height) >= 8


def test_pictures_are_seen(visit: Any) -> None:
    page = visit(1280)
    sizes = page.evaluate(
        "Array.from(document.querySelectorAll('.strip figure > svg')).map(svg => svg.getBoundingClientRect().height)"
    )
    assert len(sizes) >= 24
    assert min(sizes) > 50
    drawn = page.evaluate("Array.from(document.querySelectorAll('.strip use')).map(use => use.getBBox().width)")
    assert drawn
    assert min(drawn) > 0


def test_on_paper_folds_are_open_and_no_heading_stands_alone(visit: Any) -> None:
    page = visit(1280)
    facts = page.locator("details dl").first
    assert not facts.is_visible()
    page.emulate_media(media="print")
    assert facts.is_visible()
    ends = page.evaluate("Array.from(document.querySelectorAll('h3, h4')).map(h => getComputedStyle(h).breakAfter)")
    assert set(ends) == {"avoid"}
