"""`regbench report`, and `leaderboard` with html, latex and ablations."""

import re
from pathlib import Path

import pytest


@pytest.fixture
def ran(run) -> None:
    assert run("--method", "centroid").exit_code == 0


def test_nothing_to_report_on(call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regbench_leaderboards.measured_runs", lambda: tmp_path)
    result = call("report")
    assert result.exit_code == 2
    assert "no runs" in result.stderr


def test_where_nothing_was_run_the_page_is_of_the_release(call, run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("--method", "centroid", "--runs", "theirs").exit_code == 0
    monkeypatch.setattr("regbench_leaderboards.measured_runs", lambda: Path("theirs"))
    result = call("report", "--out", "page")
    assert result.exit_code == 0, result.output
    assert "came with regbench" in result.stderr
    assert "Picture of" not in result.stderr
    assert "Centroid" in Path("page/index.html").read_text()
    assert "Centroid" in call("leaderboard", "--format", "html").stdout
    assert call("report", "--runs", "elsewhere").exit_code == 2


@pytest.mark.usefixtures("ran")
def test_a_page_with_pictures_of_runs_that_are_opened_again(call, plugin_words) -> None:
    result = call("report", "--out", "page", "--device", "cpu", *plugin_words)
    assert result.exit_code == 0, result.output
    text = Path("page/index.html").read_text()
    assert text.count("<article") == 2
    assert "No picture" not in text
    assert len(re.findall(r"<figcaption>det J</figcaption>", text)) >= 2
    assert "Picture of Centroid" in result.stderr


@pytest.mark.usefixtures("ran")
def test_a_run_that_cannot_be_opened_says_why_in_the_page(call) -> None:
    assert call("report", "--out", "mine.html", "--device", "cpu").exit_code == 0
    text = Path("mine.html").read_text()
    assert "No picture: The run" in text
    assert "not installed" in text
    assert "<article" not in call_without_pictures(call)


def call_without_pictures(call) -> str:
    assert call("report", "--out", "plain", "--no-pictures").exit_code == 0
    return Path("plain/index.html").read_text()


@pytest.mark.usefixtures("ran")
def test_wrong_words_are_answered(call, tmp_path: Path) -> None:
    result = call("report", "--task", "bals")
    assert result.exit_code == 2
    assert "did you mean 'balls'" in result.stderr
    result = call("report", "--data", tmp_path / "nowhere")
    assert result.exit_code == 2
    assert "names no folder" in result.stderr
    (tmp_path / "taken").write_text("")
    assert call("report", "--no-pictures", "--out", tmp_path / "taken").exit_code == 2


@pytest.mark.usefixtures("ran")
def test_the_leaderboard_as_html_and_latex(call) -> None:
    result = call("leaderboard", "--format", "html", "--out", "board")
    assert result.exit_code == 0, result.output
    assert "<!doctype html>" in Path("board/index.html").read_text()
    assert r"\begin{tabular}" in call("leaderboard", "--format", "latex").stdout


@pytest.mark.usefixtures("ran")
def test_ablations_are_asked_for_by_method(call) -> None:
    result = call("leaderboard", "--ablation", "centriod")
    assert result.exit_code == 2
    assert "did you mean 'centroid'" in result.stderr
    result = call("leaderboard", "--ablation", "centroid")
    assert result.exit_code == 2
    assert "--set FIELD=false" in result.stderr
