"""Draw the states of TCP from the table that the code checks against, into docs/tcp.md.

`python docs/make_state_diagram.py` writes the diagram between its two marks; a test fails when it is stale.
"""

from __future__ import annotations

from pathlib import Path

from tunflow.stack.tcp.state import OPENINGS, TRANSITIONS

PAGE = Path(__file__).with_name("tcp.md")
BEGIN = "<!-- states: made by docs/make_state_diagram.py -->\n"
END = "<!-- end of states -->\n"


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["```mermaid", "stateDiagram-v2"]
    lines += [f"    [*] --> {state.name}: {label}" for state, label in OPENINGS.items()]
    for state, moves in TRANSITIONS.items():
        lines += [f"    {state.name} --> {after.name}: {_plain(label)}" for after, label in moves.items()]
    return "\n".join([*lines, "    CLOSED --> [*]", "```", ""])


def page_with_diagram(page: str) -> str:
    """The page with the diagram as it should be."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + diagram() + END + after


def _plain(label: str) -> str:
    return label.replace(";", ",")  # Mermaid takes a semicolon for the end of a line


if __name__ == "__main__":
    PAGE.write_text(page_with_diagram(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
