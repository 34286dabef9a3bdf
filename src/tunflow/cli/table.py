"""Lines in columns that fit the terminal; whole where there is none, so that other programs get everything."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

ELLIPSIS = "…"


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows of as many cells each on stdout."""
    width = None
    if sys.stdout.isatty():
        width = os.get_terminal_size(sys.stdout.fileno()).columns or None
    for line in table_lines(rows, width):
        print(line)  # noqa: T201


def table_lines(rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """The rows in columns; each at most `width` cells of a terminal wide, by cutting the widest column."""
    from rich.cells import cell_len, set_cell_size  # noqa: PLC0415 - how wide Chinese is

    if not rows:
        return []
    widths = [max(cell_len(row[at]) for row in rows) for at in range(len(rows[0]))]
    gaps = 2 * (len(widths) - 1)
    while width is not None and sum(widths) + gaps > width and max(widths) > 8:
        widest = widths.index(max(widths))
        widths[widest] = max(8, widths[widest] - (sum(widths) + gaps - width))

    def cell(text: str, size: int) -> str:
        return text if cell_len(text) <= size else set_cell_size(text, size - 1).rstrip() + ELLIPSIS

    return [
        "  ".join(set_cell_size(cell(*each), each[1]) for each in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
