"""The diagram in docs/tcp.md is the table's."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from tunflow.stack.tcp.state import OPENINGS, TRANSITIONS, State

DOCS = Path(__file__).parents[2] / "docs"


def test_the_diagram_is_up_to_date():
    spec = importlib.util.spec_from_file_location("make_state_diagram", DOCS / "make_state_diagram.py")
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    page = (DOCS / "tcp.md").read_text(encoding="utf-8")
    assert maker.page_with_diagram(page) == page, "run python docs/make_state_diagram.py"


def test_every_state_can_be_reached_and_left():
    reached = set(OPENINGS)
    while True:
        more = {after for state in reached for after in TRANSITIONS[state]} - reached
        if not more:
            break
        reached |= more
    assert reached == set(State)
    assert all(TRANSITIONS[state] for state in State if state is not State.CLOSED)


def test_every_test_that_the_page_names_exists():
    page = (DOCS / "tcp.md").read_text(encoding="utf-8")
    source = "".join(file.read_text(encoding="utf-8") for file in Path(__file__).parent.glob("test_tcp_*.py"))
    names = {word.strip("`,.") for word in page.replace("|", " ").split() if word.startswith("`test_")}
    assert len(names) > 20
    missing = {name for name in names if not name.endswith(".py") and f"def {name}(" not in source}
    assert not missing
