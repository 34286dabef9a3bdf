"""What a filter blocked, told by the API; and who may let a site in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from api_rig import SECRET, Rig

from tunflow.endpoint import endpoint
from tunflow.filter.judge import Ruling
from tunflow.flow import FlowInfo
from tunflow.providers.filter_flow import FilterFlow

FILTER = """
[filter]
privacy = "{privacy}"
log = "{folder}/log.jsonl"
[[filter.lists]]
name = "games"
category = "games"
lines = ["game.example"]
[[filter.lists]]
name = "needed"
file = "{folder}/needed.txt"
action = "allow"
"""
BLOCKED = Ruling(True, "blocked by games", "games", 1, "games")


def block(rig: Rig, host: str) -> None:
    """A client is refused a host."""

    def record() -> None:
        assert rig.dataplane.filtering is not None
        flow = FilterFlow(FlowInfo("tcp", endpoint("192.0.2.1", 1), endpoint("192.0.2.2", 443), host))
        rig.dataplane.filtering.log.record(flow, BLOCKED, host)

    rig.calls.call(record).result(60)


Make = Callable[..., Rig]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Rig] = []
    (tmp_path / "needed.txt").write_text("school.example\n")

    def filtered(secret: str | None = SECRET, privacy: str = "domains") -> Rig:
        made.append(Rig(secret, more=FILTER.format(folder=tmp_path, privacy=privacy)))
        return made[-1]

    yield filtered
    for each in made:
        each.close()


def test_the_latest_come_first_and_one_is_let_in(make: Make, tmp_path: Path) -> None:
    rig = make()
    block(rig, "game.example")
    block(rig, "www.game.example")
    found = rig.get("/filter")
    assert (found["enabled"], found["privacy"], found["add"], found["may_add"]) == (True, "domains", "needed", True)
    events = found["events"]
    assert isinstance(events, list)
    assert [each["host"] for each in events] == ["www.game.example", "game.example"]
    assert (events[0]["list"], events[0]["line"], events[0]["category"]) == ("games", 1, "games")
    assert "client" not in events[0]
    answer = rig.http.post("/filter/allow", json={"host": "game.example"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["host"] == "game.example"
    assert (tmp_path / "needed.txt").read_text().splitlines()[-1] == "game.example"


@pytest.mark.parametrize("privacy", ["none", "counts"])
def test_it_tells_no_more_than_the_log(make: Make, privacy: str) -> None:
    rig = make(privacy=privacy)
    block(rig, "game.example")
    assert (rig.get("/filter")["privacy"], rig.get("/filter")["events"]) == (privacy, [])


def test_without_a_secret_nobody_lets_anything_in(make: Make, tmp_path: Path) -> None:
    rig = make(secret=None)
    block(rig, "game.example")
    assert rig.get("/filter")["may_add"] is False
    refused = rig.http.post("/filter/allow", json={"host": "game.example"})
    assert (refused.status_code, "secret" in refused.json()["message"]) == (403, True)
    assert (tmp_path / "needed.txt").read_text() == "school.example\n"


@pytest.mark.parametrize("body", [{}, {"host": 7}, {"host": "a b"}, {"host": "x" * 400}])
def test_what_is_no_host_is_refused(make: Make, body: dict[str, object]) -> None:
    answer = make().http.post("/filter/allow", json=body)
    assert answer.status_code == 400
    assert answer.json()["message"]


def test_where_nothing_is_filtered_it_says_so() -> None:
    rig = Rig(SECRET)
    try:
        assert rig.get("/filter")["enabled"] is False
        assert rig.http.post("/filter/allow", json={"host": "a.example"}).status_code == 400
    finally:
        rig.close()
