"""The API as dashboards use it: a real listener, over a dataplane that serves a scripted client."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from api_rig import SECRET, Rig
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, RejectConnection, Request, TextMessage

from tunflow.api import bounded_http, guard
from tunflow.api.facts import TunnelFacts
from tunflow.api.server import APIServer, ListenAt
from tunflow.errors import LocalError
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.containment import Containment
from tunflow.loop.reactor import Reactor
from tunflow.wire.tcp import SYN


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.close()


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setattr(guard, "DELAY", 0.05)
    made = Rig(SECRET, ("https://dashboard.example",))
    yield made
    made.close()


def until(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen"
        os.sched_yield()


def test_what_a_dashboard_asks_first(rig: Rig) -> None:
    assert str(rig.get("/version")["version"]).startswith("tunflow ")
    assert rig.get("/version")["meta"] is True
    assert rig.get("/configs")["mode"] == "rule"


def test_groups_and_servers(rig: Rig) -> None:
    proxies = rig.get("/proxies")["proxies"]
    assert proxies["pick"]["type"] == "Selector"  # type: ignore[index]
    assert proxies["pick"]["all"] == ["a", "b"]  # type: ignore[index]
    assert proxies["fastest"]["type"] == "URLTest"  # type: ignore[index]
    assert {"a", "b", "DIRECT", "REJECT", "GLOBAL"} <= set(proxies)  # type: ignore[arg-type]
    assert rig.get("/proxies/a")["type"] == "http"
    assert rig.get("/proxies/DIRECT")["type"] == "Direct"
    assert {each["name"] for each in rig.get("/group")["proxies"]} == {"pick", "fastest", "GLOBAL"}  # type: ignore[index,attr-defined]


def test_choosing_a_server(rig: Rig) -> None:
    assert rig.http.put("/proxies/pick", json={"name": "b"}).status_code == 204
    assert rig.get("/proxies/pick")["now"] == "b"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/proxies/pick", b'{"name": "zz"}', 400),
        ("/proxies/pick", b'{"name": 7}', 400),
        ("/proxies/pick", b"nonsense", 400),
        ("/proxies/pick", b"[" * 5000, 400),
        ("/proxies/pick", b"x" * 70_000, 413),
        ("/proxies/fastest", b'{"name": "a"}', 400),
        ("/proxies/nobody", b'{"name": "a"}', 404),
        ("/configs", b'{"mode": "global"}', 400),
    ],
)
def test_what_cannot_be_done_is_a_line(rig: Rig, path: str, body: bytes, status: int) -> None:
    method = "PATCH" if path == "/configs" else "PUT"
    answer = rig.http.request(method, path, content=body)
    assert answer.status_code == status
    assert answer.json()["message"]
    assert rig.get("/proxies/pick")["now"] == "a"


def test_rules_in_their_order(rig: Rig) -> None:
    rules = rig.get("/rules")["rules"]
    assert [(each["type"], each["payload"], each["proxy"]) for each in rules] == [  # type: ignore[attr-defined]
        ("DstPort", "9", "REJECT"),
        ("DstPort", str(rig.site.port), "pick"),
        ("RuleSet", "list", "REJECT"),
        ("Match", "", "REJECT"),
    ]


def test_delays(rig: Rig) -> None:
    url = f"http://127.0.0.1:{rig.site.port}/"
    assert rig.http.get("/proxies/a/delay", params={"url": url, "timeout": 20000}).json()["delay"] >= 1
    assert set(rig.http.get("/group/fastest/delay", params={"timeout": 20000}).json()) == {"a", "b"}
    assert rig.get("/proxies/a")["history"]
    assert rig.http.get("/proxies/nobody/delay").status_code == 404
    assert rig.http.get("/proxies/a/delay", params={"timeout": "soon"}).status_code == 400


def test_a_flow_is_shown_with_its_rule_and_can_be_closed(rig: Rig) -> None:
    assert rig.flows() == []
    rig.packet(SYN, seq=0)
    until(rig.flows)
    (flow,) = rig.flows()
    metadata = flow["metadata"]
    assert metadata["network"] == "tcp"  # type: ignore[index]
    assert metadata["destinationPort"] == str(rig.site.port)  # type: ignore[index]
    assert flow["chains"] == ["a", "pick"]
    assert (flow["rule"], flow["rulePayload"]) == ("DstPort", str(rig.site.port))
    assert rig.http.delete("/connections/999999").status_code == 404
    assert rig.http.delete(f"/connections/{flow['id']}").status_code == 204
    until(lambda: not rig.flows())
    assert rig.http.delete("/connections").status_code == 204


def test_without_a_secret_names_of_strangers_and_other_pages_get_nowhere(rig: Rig) -> None:
    assert rig.http.get("/version", headers={"Host": "rebound.example"}).status_code == 403
    assert rig.http.get("/version", headers={"Origin": "https://evil.example"}).status_code == 403
    assert rig.http.delete("/connections", headers={"Origin": "null"}).status_code == 403
    own = rig.api.where
    assert rig.http.get("/version", headers={"Origin": own}).status_code == 200


def test_a_secret_is_asked_for(locked: Rig) -> None:
    assert locked.get("/version")
    for headers in ({"Authorization": ""}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {SECRET}"}):
        answer = locked.http.get("/version", headers=headers)
        assert answer.status_code == 401
        assert SECRET not in answer.text
    assert locked.http.get("/version", params={"token": SECRET}, headers={"Authorization": ""}).status_code == 401
    assert locked.http.get("/ui/", headers={"Authorization": ""}).status_code == 200


def test_pages_that_the_profile_lists(locked: Rig) -> None:
    origin = {"Origin": "https://dashboard.example"}
    asked = locked.http.options(
        "/proxies", headers={**origin, "Authorization": "", "Access-Control-Request-Method": "PUT"}
    )
    assert asked.status_code == 204
    assert asked.headers["access-control-allow-origin"] == origin["Origin"]
    assert locked.http.get("/version", headers=origin).headers["access-control-allow-origin"] == origin["Origin"]
    assert locked.http.options("/proxies", headers={"Origin": "https://other.example"}).status_code == 403


def websocket(rig: Rig, path: str, messages: int, headers: tuple[tuple[bytes, bytes], ...] = ()) -> list[object] | int:
    """So many messages of a stream; the code that it was refused with."""
    host, port = rig.api.where.removeprefix("http://").rsplit(":", 1)
    connection = WSConnection(ConnectionType.CLIENT)
    got: list[object] = []
    with socket.create_connection((host, int(port)), timeout=60) as sock:
        sock.sendall(connection.send(Request(host=f"{host}:{port}", target=path, extra_headers=list(headers))))
        while len(got) < messages:
            data = sock.recv(65536)
            connection.receive_data(data or None)
            for event in connection.events():
                match event:
                    case TextMessage(data=text):
                        got.append(json.loads(text))
                    case RejectConnection(status_code=code):
                        return code
                    case CloseConnection(code=code):
                        return code
                    case AcceptConnection():
                        pass
    return got


def test_streams_by_websocket(rig: Rig) -> None:
    assert set(websocket(rig, "/traffic", 1)[0]) >= {"up", "down"}  # type: ignore[index]
    assert websocket(rig, "/memory", 1)[0]["inuse"] > 0  # type: ignore[index]
    first, second = websocket(rig, "/connections?interval=100", 2)  # type: ignore[misc]
    assert first["connections"] == second["connections"] == []
    rig.say("something happened")
    assert websocket(rig, "/logs?level=info", 1) == [{"type": "info", "payload": "something happened"}]
    assert websocket(rig, "/logs?level=nonsense", 1) == 1008
    rig.api.log.say("it went wrong", "warning")
    rig.api.log.say("a flow", "debug")
    assert websocket(rig, "/logs?level=warning", 1) == [{"type": "warning", "payload": "it went wrong"}]
    assert [each["type"] for each in websocket(rig, "/logs?level=debug", 3)] == ["info", "warning", "debug"]  # type: ignore[index,union-attr]


def test_streams_by_lines(rig: Rig) -> None:
    with rig.http.stream("GET", "/memory") as answer:
        assert json.loads(next(answer.iter_lines()))["inuse"] > 0
    assert rig.http.get("/logs", params={"level": "nonsense"}).status_code == 400


def test_websockets_show_the_secret_too(locked: Rig) -> None:
    assert websocket(locked, "/traffic", 1) == 403
    assert websocket(locked, f"/traffic?token={SECRET.replace(' ', '%20')}", 1) != 403
    assert websocket(locked, "/memory", 1, ((b"Authorization", f"Bearer {SECRET}".encode()),)) != 403
    evil = ((b"Origin", b"https://evil.example"), (b"Authorization", f"Bearer {SECRET}".encode()))
    assert websocket(locked, "/memory", 1, evil) == 403


def test_the_page_is_whole_and_needs_nobody_else(rig: Rig) -> None:
    page = rig.http.get("/ui/")
    assert page.status_code == 200
    assert "default-src 'self'" in page.text
    for name in ("page.js", "page.css"):
        assert name in page.text
        assert rig.http.get(f"/ui/{name}").status_code == 200
    assert rig.http.get("/ui", follow_redirects=True).status_code == 200
    assert rig.http.get("/ui/../facts.py").status_code == 404
    assert rig.http.get("/ui/%2e%2e/facts.py").status_code == 404
    assert rig.http.get("/ui/%00").status_code == 404
    tag = page.headers["etag"]
    again = rig.http.get("/ui/", headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert rig.http.get("/ui/", headers={"If-None-Match": '"other"'}).content == page.content


def test_counts_for_prometheus(rig: Rig) -> None:
    rig.packet(SYN, seq=0)
    until(rig.flows)
    page = rig.http.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = page.text.splitlines()
    assert "tunflow_up 1.0" in lines
    assert 'tunflow_flows_total{protocol="tcp"} 1.0' in lines
    assert 'tunflow_server_works{server="a"} 1.0' in lines
    assert "127.0.0.1" not in page.text


def test_an_unknown_path(rig: Rig) -> None:
    answer = rig.http.get("/nothing")
    assert (answer.status_code, answer.json()) == (404, {"message": "Not Found"})


@pytest.mark.parametrize("text", ["", "9090", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:99999", "no.name:80", "[::1:80"])
def test_an_address_that_is_none(text: str) -> None:
    with pytest.raises(LocalError, match="ADDRESS:PORT"):
        ListenAt.of(text)


def test_others_need_a_secret() -> None:
    with pytest.raises(LocalError, match="TUNFLOW_API_SECRET"):
        ListenAt.of("0.0.0.0:9090")
    assert ListenAt.of("[::]:9090", "s").host == "::"
    assert ListenAt.of(":9090").host == "127.0.0.1"


def test_a_bug_ends_the_request_that_it_happened_in(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is counted and told as any other; what clients say and how they leave is none, and nothing is on stderr."""
    told: list[str] = []
    rig.reactor.containment = Containment(CauseLog(told.append, lambda: rig.reactor.now), lambda: rig.reactor.now)
    host, port = rig.api.where.removeprefix("http://").split(":")
    upgrade = (
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAA=\r\n\r\n"
    )
    odd = b"GET /traffic HTTP/1.1\r\nHost: \xff\r\n" + upgrade
    for said in (
        odd,
        b"GET \xff\r\n\r\n",
        b"PUT /proxies/pick HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n{",
    ):
        with socket.create_connection((host, int(port))) as client:
            client.sendall(said)
            client.shutdown(socket.SHUT_WR)
            while client.recv(4096):
                pass
    assert rig.get("/version")
    assert told == []
    monkeypatch.setattr(TunnelFacts, "rules", lambda _: 1 // 0)
    assert rig.http.get("/rules").status_code == 500
    assert rig.get("/version")
    until(lambda: told)
    assert told[0].startswith("internal error in a request of the API: ZeroDivisionError at ")
    assert capfd.readouterr().err == ""


def test_connections_that_say_nothing_are_few_and_short(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each holds a descriptor of the process that carries the tunnel."""
    address = ("127.0.0.1", int(rig.api.where.rsplit(":", 1)[1]))
    half = b"GET /version HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    with monkeypatch.context() as short, ExitStack() as crowd:
        short.setattr(bounded_http, "CONNECTIONS", 20)
        short.setattr(bounded_http, "SILENCE", 0.2)
        clients = [crowd.enter_context(socket.create_connection(address, timeout=60)) for _ in range(60)]
        for number, one in enumerate(clients):
            with suppress(OSError):  # it was cut already
                one.sendall(half[: number % 2 * len(half)])
        for one in clients:
            with suppress(ConnectionResetError):
                assert one.recv(100) == b""
    until(lambda: websocket(rig, "/memory", 2) != 1008)
    assert rig.get("/version")


def test_an_address_in_use() -> None:
    reactor = Reactor()
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(LocalError, match="somebody listens"):
        APIServer(ListenAt.of(f"127.0.0.1:{taken.getsockname()[1]}"), reactor)
    reactor.close()


def test_the_dashboard_of_grafana_asks_for_counts_that_there_are(rig: Rig) -> None:
    rig.http.get("/group/fastest/delay", params={"timeout": 20000})  # so that servers have a delay
    there = set(re.findall(r"^(tunflow_\w+)[{ ]", rig.http.get("/metrics").text, re.MULTILINE))
    board = Path(__file__).parent.parent.parent / "packaging/grafana/tunflow.json"
    asked = {
        name
        for panel in json.loads(board.read_text())["panels"]
        for target in panel["targets"]
        for name in re.findall(r"tunflow_\w+", target["expr"])
    }
    assert len(asked) > 8
    assert asked <= there
