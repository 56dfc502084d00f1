"""LaTeX: what is printed, whether its parts match, and whether it compiles where there is a TeX."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from regbench.leaderboard import boards, render
from regbench.leaderboard.formats.latex import escape

NASTY = r"A_b & c% #1 {x} $y$ ~z^2 \cmd <i> [a,b] “é” 你"


def dice(value: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(value, 2, (10, 3))


@pytest.fixture
def text(make_run, protocol) -> str:
    used = protocol.model_copy(update={"task": "abdomen", "name": "ipmi25"})
    values = {"hd95": dice(20), "sdlogj-l2r": np.full((10, 1), 0.1), "folding": np.zeros((10, 1))}
    runs = [make_run("identity", {"dsc": dice(10), **values}, on=used)]
    runs += [make_run(f"m{n}", {"dsc": dice(30 + n, n), **values}, on=used) for n in range(3)]
    runs += [
        make_run("nasty", {"dsc": dice(20), **values}, on=used, title=NASTY, row="nasty[a_b=1,c=50%]"),
        make_run("broken", on=used, status="failed", reason="It broke.\nBadly."),
    ]
    return render(boards(runs), "latex")


def without_comments(text: str) -> str:
    return "\n".join(re.sub(r"(?<!\\)%.*", "", line) for line in text.splitlines())


def test_specials_are_escaped() -> None:
    assert escape("a_b & 5% #1 {x} $y$") == r"a\_b \& 5\% \#1 \{x\} \$y\$"
    assert escape("\\ ~ ^ < >") == r"\textbackslash{} \textasciitilde{} \textasciicircum{} \textless{} \textgreater{}"
    assert escape("3 ± 1 ↑ ≤ † –") == r"3 $\pm$ 1 $\uparrow$ $\leq$ \dag{} --"
    assert escape("é ő 你\n") == "é o U+4F60 "


def test_environments_and_braces_match(text: str) -> None:
    plain = without_comments(text)
    waiting: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", plain):
        if kind == "begin":
            waiting.append(name)
        else:
            assert waiting.pop() == name
    assert waiting == []
    bare = re.sub(r"\\[{}]", "", plain)
    assert bare.count("{") == bare.count("}")


def test_every_line_of_a_table_has_its_columns(text: str) -> None:
    tables = re.findall(r"\\begin\{tabular\}\{([lr]+)\}(.*?)\\end\{tabular\}", without_comments(text), re.DOTALL)
    assert len(tables) >= 5
    for columns, body in tables:
        lines = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert len(lines) >= 2
        for line in lines:
            assert len(re.findall(r"(?<!\\)&", line)) == len(columns) - 1, line
        assert [body.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]


def test_the_best_is_bold_and_the_second_underlined(text: str) -> None:
    structures = text.split(r"\begin{tabular}")[1]
    assert re.search(r"^M2 & .*\\textbf\{[\d.]+\} \$\\pm\$ ", structures, re.MULTILINE)
    assert r"\underline{" in structures
    assert r"\textbf" not in next(line for line in structures.splitlines() if line.startswith("Initial"))


def test_preamble_failures_and_published_rows(text: str) -> None:
    first = text.splitlines()[:4]
    assert all(line.startswith("%") for line in first)
    assert r"\usepackage{booktabs}" in "".join(first)
    assert "% Without a row: Broken, seed 0: failed: It broke.\n% Without a row: Badly." in text
    assert r"CorrMLP + SAM & 77.1 &" in text
    labels = re.findall(r"\\label\{(.*?)\}", text)
    assert len(labels) == len(set(labels))


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex here")
@pytest.mark.parametrize("name", ["board", "paper"])
def test_it_compiles_by_itself_and_taken_in(text: str, tmp_path: Path, name: str) -> None:
    (tmp_path / "board.tex").write_text(text, encoding="utf-8")
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\n\\usepackage{booktabs}\n\\usepackage{graphicx}\n"
        "\\begin{document}\n\\input{board}\nThe end.\n\\end{document}\n"
    )
    done = subprocess.run(  # noqa: S603
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"{name}.tex"],  # noqa: S607
        cwd=tmp_path, capture_output=True, check=False,
    )  # fmt: skip
    log = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, log[-2000:]
    assert "Output written" in log
    assert "Overfull" not in log
