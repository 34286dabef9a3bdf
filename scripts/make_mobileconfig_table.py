"""Writes the table of keys in docs/mobileconfig.md: python scripts/make_mobileconfig_table.py."""

from __future__ import annotations

from pathlib import Path

from tunflow.profiles.imports.mobileconfig_keys import KEYS

PAGE = Path(__file__).parents[1] / "docs" / "mobileconfig.md"
START, END = "<!-- keys -->\n", "<!-- end -->\n"


def table() -> str:
    """The table as Markdown."""
    rows = [
        f"| `{kind}` | `{key}` | {state} | {words} |"
        for kind, keys in KEYS.items()
        for key, (state, words) in keys.items()
    ]
    return "\n".join(["| payload | key | | |", "|---|---|---|---|", *rows, ""])


def page(text: str) -> str:
    """The page with the table as it is now."""
    before, _, rest = text.partition(START)
    return before + START + "\n" + table() + "\n" + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
