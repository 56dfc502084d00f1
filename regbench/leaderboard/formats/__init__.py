"""Sheets on a terminal, as Markdown, LaTeX, csv and json."""
