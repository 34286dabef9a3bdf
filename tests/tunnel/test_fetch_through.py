"""Lists fetched through a way out in this process: what a site says, where it sends us, and who waits at the end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from tunflow.endpoint import Address, Endpoint
from tunflow.errors import LocalError, RemoteError
from tunflow.loop.reactor import Reactor
from tunflow.loop.sockets import UNMARKED
from tunflow.outbound.direct import DirectOutbound
from tunflow.protocols.block.outbound import BlockOutbound
from tunflow.protocols.contract import Carries, CodecRoute
from tunflow.tunnel import fetch_through
from tunflow.tunnel.fetch_through import FetchThrough


class Site(BaseHTTPRequestHandler):
    """Answers by path."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self) -> None:
        path = self.path
        self.seen.append((f"{self.headers['Host']}{path}", self.headers["Authorization"]))
        if path == "/moved":
            self._say(302, b"", Location="http://other.example/list")
        elif path == "/circle":
            self._say(302, b"", Location="/circle")
        elif path == "/away":
            self._say(302, b"", Location="ftp://other.example/")
        elif path == "/list" and self.headers["If-None-Match"] == '"1"':
            self._say(304, b"")
        elif path == "/list":
            self._say(200, b"a.example\n", ETag='"1"')
        elif path == "/open":
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b"until the end")
            self.close_connection = True
        elif path == "/cut":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"cut")
            self.close_connection = True
        elif path == "/large":
            self._say(200, bytes(200_000))
        else:
            self._say(404, b"no")

    def _say(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Way:
    """A way out that leads every name to one address on loopback."""

    label = "way"
    resolver = None
    carries = Carries.STREAMS | Carries.NAMES

    def __init__(self, port: int) -> None:
        self._port = port
        self.targets: list[Endpoint] = []

    def stream(self, target: Endpoint) -> CodecRoute:
        self.targets.append(target)
        return CodecRoute((Address(socket.AF_INET, ("127.0.0.1", self._port)),), None, self.label)


class Rig:
    """A reactor that is served while a thread fetches."""

    def __init__(self, way: object) -> None:
        self.reactor = Reactor()
        self.through = FetchThrough(self.reactor, lambda: way, UNMARKED)  # type: ignore[arg-type, return-value]
        self.pool = ThreadPoolExecutor(1)

    def fetch(self, url: str, etag: str | None = None) -> Future:
        return self.pool.submit(self.through.fetch, url, etag)

    def result(self, url: str, etag: str | None = None):
        future = self.fetch(url, etag)
        self.serve(future.done)
        return future.result()

    def serve(self, until: Callable[[], bool]) -> None:
        for _ in range(3000):
            if until():
                return
            self.reactor.run_once(0.02)
        raise AssertionError("nothing came of it")


@pytest.fixture
def way() -> Iterator[Way]:
    Site.seen.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield Way(server.server_address[1])
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def rig(way: Way) -> Iterator[Rig]:
    made = Rig(way)
    yield made
    made.through.close()
    made.pool.shutdown()
    made.reactor.close()


def test_a_list_comes_through_the_way_out_by_its_name(rig: Rig, way: Way) -> None:
    assert rig.result("http://user:pw@list.example/list") == (b"a.example\n", '"1"', None)
    assert way.targets == [Endpoint("list.example", 80)]
    assert Site.seen == [("list.example/list", "Basic dXNlcjpwdw==")]
    assert rig.result("http://list.example:8080/list", '"1"') == (None, '"1"', None)
    assert rig.result("http://list.example/open")[0] == b"until the end"


def test_a_redirect_is_followed_without_the_password(rig: Rig, way: Way) -> None:
    assert rig.result("http://user:pw@list.example/moved")[0] == b"a.example\n"
    assert [target.host for target in way.targets] == ["list.example", "other.example"]
    assert Site.seen[1] == ("other.example/list", None)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/circle", "answered with status 302"),
        ("/away", "leads to no web address"),
        ("/gone", "answered with status 404"),
        ("/cut", "list.example"),
        ("/large", "sends more than 100000 bytes"),
    ],
)
def test_what_is_no_list_is_said(rig: Rig, monkeypatch: pytest.MonkeyPatch, path: str, said: str) -> None:
    monkeypatch.setattr(fetch_through.rule_data, "LARGEST", 100_000)
    with pytest.raises(RemoteError, match=said):
        rig.result(f"http://list.example{path}")


def test_what_is_no_address_is_the_users_fault(rig: Rig) -> None:
    with pytest.raises(LocalError, match="no web address"):
        rig.result("file:///etc/passwd")


def test_a_way_that_refuses_fetches_nothing() -> None:
    rig = Rig(BlockOutbound())
    with pytest.raises(RemoteError, match="cannot be reached"):
        rig.result("http://list.example/list")
    rig.through.close()
    rig.pool.shutdown()
    rig.reactor.close()


def test_straight_out_is_fetched_as_anybody_would(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(fetch_through, "fetch_changed", lambda url, _etag, **_: asked.append(url))
    rig = Rig(DirectOutbound())
    rig.result("http://list.example/list")
    assert asked == ["http://list.example/list"]
    rig.through.close()
    rig.pool.shutdown()
    rig.reactor.close()


def test_who_waits_at_the_end_hears_that_it_is_over() -> None:
    listener = socket.create_server(("127.0.0.1", 0))  # which never answers
    way = Way(listener.getsockname()[1])
    rig = Rig(way)
    waiting = rig.fetch("http://list.example/list")
    rig.serve(lambda: bool(way.targets))
    rig.through.close()
    with pytest.raises(RemoteError, match="the tunnel ends"):
        waiting.result(30)
    with pytest.raises(RemoteError, match="the tunnel ends"):
        rig.fetch("http://list.example/list").result(30)
    rig.pool.shutdown()
    rig.reactor.close()
    listener.close()
