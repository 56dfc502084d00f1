"""Boards as LaTeX tables in the style of booktabs: a document by itself, or taken in by a paper's input command."""

import re
import unicodedata
from collections.abc import Iterable

from regbench.leaderboard.board import Board
from regbench.leaderboard.formats.caption import failures, headline, particulars, remarks
from regbench.leaderboard.views.columns import SPREAD
from regbench.leaderboard.views.sheet import Cell, Sheet

PREAMBLE = r"""% Made by regbench; it compiles as it stands. A paper that takes it in, or tables of it, needs
%   \usepackage{booktabs}  % rules
%   \usepackage{graphicx}  % narrows a table that is wider than the line
% Cells beginning with a bold number are the best of their column, underlined ones the second.
\makeatletter
\ifx\documentclass\@notprerr\else
\documentclass{article}
\usepackage[margin=2cm]{geometry}
\usepackage{booktabs,graphicx}
\def\regbenchalone{}
\begin{document}
\fi
\makeatother
"""
END = r"\ifx\regbenchalone\undefined\else\end{document}\fi"
_MARKS = {"best": r"\textbf{%s}", "second": r"\underline{%s}", None: "%s"}
_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "''", "[": "{[}", "]": "{]}", "±": r"$\pm$", "×": r"$\times$",
    "·": r"$\cdot$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "≤": r"$\leq$", "≥": r"$\geq$", "∣": r"$\mid$",
    "†": r"\dag{}", "‡": r"\ddag{}", "–": "--", "—": "---", "−": "$-$", "→": r"$\rightarrow$", "∇": r"$\nabla$",
    "…": r"\ldots{}", "“": "``", "”": "''", "‘": "`", "’": "'", "°": r"$^\circ$", "µ": r"$\mu$", "μ": r"$\mu$",
    "σ": r"$\sigma$", "λ": r"$\lambda$", "✓": r"$\surd$", "\N{NO-BREAK SPACE}": "~",
}  # fmt: skip


def escape(text: str) -> str:
    r"""Text as LaTeX prints it, whatever engine and encoding.

    >>> print(escape("95 % of a_b & 3 ± 1"))
    95 \% of a\_b \& 3 $\pm$ 1
    """
    return "".join(_SPECIAL.get(letter) or _letter(letter) for letter in text)


def latex(board: Board, sheets: Iterable[Sheet]) -> str:
    """A board's sheets, each as a floating table with its caption, label and notes."""
    about = [f"% {line}".rstrip() for line in (headline(board), particulars(board), *remarks(board))]
    tables = [_table(board, sheet) for sheet in sheets]
    missing = [f"% Without a row: {line}" for line in (part for text in failures(board) for part in text.splitlines())]
    return "\n".join([*about, *missing, "", "\n\n".join(tables), ""])


def _table(board: Board, sheet: Sheet) -> str:
    columns = "".join("l" if head.is_text else "r" for head in sheet.heads)
    notes = [*([" · ".join(sheet.legend) + "."] if sheet.legend else []), *sheet.notes]
    lines = [
        r"\begin{table}[htbp]",
        r"\centering",
        rf"\caption{{{escape(f'{headline(board)}: {sheet.title}')}. {escape(_capital(particulars(board)))}.}}",
        rf"\label{{tab:{_label(board, sheet)}}}",
        r"\smallskip\small",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _line(escape(head.name) for head in sheet.heads),
        *([_line(escape(head.caption) for head in sheet.heads)] if any(head.caption for head in sheet.heads) else []),
        r"\midrule",
        *(_line(_cell(cell) for cell in row) for row in sheet.rows),
        r"\bottomrule",
        r"\end{tabular}}",
        *([r"\par\smallskip", rf"\parbox{{\linewidth}}{{\footnotesize {_sentences(notes)}}}"] if notes else []),
        r"\end{table}",
    ]
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cell(cell: Cell) -> str:
    value, blank, spread = cell.text.partition(SPREAD)
    return _MARKS[cell.mark] % _minus(escape(value)) + escape(blank + spread)


def _minus(text: str) -> str:
    return re.sub(r"(?<![\w-])-(?=\d)", "$-$", text)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _sentences(notes: Iterable[str]) -> str:
    return " ".join(escape(note) for note in notes)


def _label(board: Board, sheet: Sheet) -> str:
    words = f"{board.task} {board.protocol.name} {board.data.kind} {sheet.title.partition(' (')[0]}"
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def _letter(letter: str) -> str:
    """A letter as it is, if every engine knows it; else what is left of it without its accent, or its code point."""
    if letter.isascii():
        return letter if letter.isprintable() else " "
    if "\N{LATIN CAPITAL LETTER A WITH GRAVE}" <= letter <= "\N{LATIN SMALL LETTER Y WITH DIAERESIS}":
        return letter
    plain = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
    return escape(plain) if plain else f"U+{ord(letter):04X}"
