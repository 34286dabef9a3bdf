#!/usr/bin/env python3
"""Writes the tables of the documentation that the code knows. tests/test_tables.py checks that it was run."""

from __future__ import annotations

from pathlib import Path

from tunflow.protocols.contract import Carries
from tunflow.protocols.registry import built_in

PAGE = Path(__file__).parent.parent / "docs/proxies.md"
BEGIN, END = "<!-- protocols: scripts/make_tables.py -->\n", "<!-- end -->\n"


def protocols_table() -> str:
    """One row for each of tunflow's own protocols."""
    rows = ["| protocol | link | carries | what it is |", "|---|---|---|---|"]
    for protocol in built_in():
        carries = ", ".join(str(kind.name).lower() for kind in Carries if kind in protocol.carries)
        rows.append(f"| {protocol.name} | `{protocol.link_shape}` | {carries} | {protocol.summary} |")
    return "\n".join(rows) + "\n"


def page(text: str) -> str:
    """The page with its table as it must be. Raises ValueError where the page has no place for it."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name} has no lines {BEGIN.strip()} and {END.strip()}")
    return f"{before}{begin}{protocols_table()}{end}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
