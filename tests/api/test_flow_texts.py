"""What dashboards get of flows, written once each, with the counts of now."""

from __future__ import annotations

import json

from tunflow.api.flow_texts import FlowTexts
from tunflow.dataplane.flow_book import FlowBook
from tunflow.endpoint import endpoint
from tunflow.flow import FlowInfo, ProcessInfo


class Going:
    """A flow that goes on, until it is cut."""

    bytes_up = 0
    bytes_down = 0
    is_over = False

    def cut(self) -> None:
        self.is_over = True


def test_counts_move_and_facts_stay() -> None:
    book, texts = FlowBook(), FlowTexts()
    looked_up: list[str] = []

    def find(protocol: str, *_: object) -> ProcessInfo:
        looked_up.append(protocol)
        return ProcessInfo(1, "/usr/bin/curl", 'cu"rl', 1000)

    carriers = [Going(), Going()]
    flows = [FlowInfo("tcp", endpoint("198.18.0.1", n), endpoint("192.0.2.1", 443), None, find) for n in (1, 2)]
    for flow, carrier in zip(flows, carriers, strict=True):
        book.carried(flow, carrier, "direct", flow.target)

    def told() -> dict[str, object]:
        return dict(json.loads(texts.connections(book.entries(), 5, 6, 7, "Tun")))

    first = told()
    assert (first["uploadTotal"], first["downloadTotal"], first["memory"]) == (5, 6, 7)
    one, two = first["connections"]  # type: ignore[misc]
    assert (one["id"], two["id"], one["upload"], one["metadata"]["process"]) == ("1", "2", 0, 'cu"rl')
    carriers[0].bytes_up, carriers[0].bytes_down = 10, 20
    flows[1].hostname = "found.example"
    again, named = told()["connections"]  # type: ignore[misc]
    assert again == {**one, "upload": 10, "download": 20}
    assert named["metadata"]["host"] == "found.example"
    carriers[0].cut()
    assert [each["id"] for each in told()["connections"]] == ["2"]  # type: ignore[attr-defined]
    assert looked_up == ["tcp", "tcp"]


def test_no_flows() -> None:
    assert json.loads(FlowTexts().connections([], 0, 0, 0, "Tun"))["connections"] == []
