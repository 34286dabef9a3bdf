"""The dashboards' API, as browsers and scripts on this machine reach it: any bytes on a connection to a whole server.

The invariant: no handler fails (status 500), no bug is met in the tunnel's loop, and what is sent whole is answered.
One server stands for all inputs, in threads as in `run`; its ways out lead nowhere.
"""

from __future__ import annotations

import socket
import threading
from functools import cache

from tunflow.api.server import APIServer, ListenAt
from tunflow.host.memory import memory_pair
from tunflow.loop.reactor import Reactor
from tunflow.profiles.store import parse_text
from tunflow.tunnel.assemble import ServingContext, assemble
from tunflow.tunnel.compile import compile_profile
from tunflow.tunnel.outbounds import make_outbounds
from tunflow.tunnel.process_filter import ProcessFilter

PROFILE = """
name = "home"
rules = ["DST-PORT,9,REJECT", "RULE-SET,list,REJECT", "MATCH,pick"]
[rule_sets.list]
behavior = "domain"
lines = ["blocked.example"]
[dns]
hosts = { "router.home" = ["192.0.2.7"] }
[servers.a]
url = "block://"
[servers.b]
url = "block://"
[groups.pick]
type = "select"
servers = ["a", "b"]
"""
PATIENCE = 5.0
"""Seconds for an answer; a machine that is three times as slow needs a part of one."""


def request(line: str, body: bytes = b"", *more: str) -> bytes:
    """The bytes of a request."""
    size = [f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([f"{line} HTTP/1.1", "Host: 127.0.0.1", *size, *more, "", ""]).encode() + body


UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
SEEDS: list[bytes] = [
    *(
        request(f"GET {path}")
        for path in ("/", "/version", "/proxies", "/rules", "/connections", "/metrics", "/group/pick")
    ),
    *(
        request(f"GET {path}")
        for path in ("/providers/proxies", "/providers/rules/list", "/ui/", "/ui/../x", "/traffic")
    ),
    request("GET /proxies/a/delay?timeout=1&url=http://x/"),
    request("GET /dns/query?name=router.home&type=A"),
    request("GET /logs?level=info&format=structured"),
    request("PUT /proxies/pick", b'{"name":"b"}'),
    request("PATCH /configs", b'{"mode":"rule","log-level":"info"}', "Content-Type: application/json"),
    request("DELETE /connections/1"),
    request("POST /cache/dns/flush"),
    request("OPTIONS /proxies", b"", "Origin: http://x", "Access-Control-Request-Method: PUT"),
    request("GET /traffic", b"", *UPGRADE) + b"\x81\x82\x00\x00\x00\x00ab",
    request("GET /connections?interval=1", b"", *UPGRADE),
]


class Serving:
    """The server, and the loop of the tunnel that it tells of."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        reactor = Reactor.containing(self.faults.append)
        self.api = APIServer(ListenAt.of("127.0.0.1:0"), reactor)
        self.where = self.api.where.partition("://")[2].rpartition(":")
        device, _ = memory_pair(vnet=False)
        plan = compile_profile(parse_text(PROFILE, "home.toml"))
        context = ServingContext(reactor, lambda _: None, ProcessFilter(reactor, lambda _: None), watcher=self.api)
        self.dataplane = assemble(plan, make_outbounds(plan), device, context)
        threading.Thread(target=reactor.run, daemon=True).start()


@cache
def serving() -> Serving:
    """The one of this process."""
    return Serving()


def one_input(data: bytes) -> None:
    """Raises only when the invariant is broken."""
    server = serving()
    with socket.create_connection((server.where[0], int(server.where[2])), PATIENCE) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        try:
            answer = sock.recv(65536)
        except ConnectionResetError:
            answer = b""
    assert not answer.startswith(b"HTTP/1.1 500"), answer
    assert not server.faults, server.faults
