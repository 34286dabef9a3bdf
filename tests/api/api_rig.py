"""The API over a dataplane that serves a scripted client."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path

import httpx

from tunflow.api.server import APIServer, ListenAt
from tunflow.host.memory import memory_pair
from tunflow.loop.reactor import Reactor
from tunflow.loop.thread_calls import ThreadCalls
from tunflow.profiles.store import parse_text
from tunflow.testing.packet_script import ScriptedClient
from tunflow.tunnel.assemble import ServingContext, assemble
from tunflow.tunnel.compile import compile_profile
from tunflow.tunnel.outbounds import make_outbounds
from tunflow.tunnel.process_filter import ProcessFilter

PROFILE = """
name = "home"
rules = ["DST-PORT,9,REJECT", "DST-PORT,{port},pick", "RULE-SET,list,REJECT", "MATCH,REJECT"]
[rule_sets.list]
behavior = "domain"
lines = ["blocked.example", "other.example"]
[subscription]
url = "https://subscription.example/secret-token"
[dns]
hosts = {{ "router.home" = ["192.0.2.7"] }}
[servers.a]
url = "http://127.0.0.1:{port}"
[servers.b]
url = "http://127.0.0.1:{port}"
[groups.pick]
type = "select"
servers = ["a", "b"]
[groups.fastest]
type = "url-test"
url = "http://127.0.0.1:{port}/"
servers = ["a", "b"]
"""
SECRET = "open sesame"


class Site:
    """What the servers are asked for, and the servers: an HTTP proxy that answers itself. Nothing leaves loopback."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                one, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(one,), daemon=True).start()

    def _answer(self, one: socket.socket) -> None:
        with one, suppress(OSError):
            while request := one.recv(1000):
                if request.startswith(b"CONNECT "):
                    one.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                else:
                    one.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
                    return


class Rig:
    """The loop runs in a thread of its own, as it is the process's in `run`; `api` is asked over loopback."""

    def __init__(
        self, secret: str | None = None, origins: tuple[str, ...] = (), ui: Path | None = None, more: str = ""
    ) -> None:
        """`more` goes behind the profile."""
        self.site = Site()
        self.reactor = Reactor()
        self.lines: list[str] = []
        self.api = APIServer(ListenAt.of("127.0.0.1:0", secret, origins, ui), self.reactor)
        self.say = self.api.log.also(self.lines.append)
        device, self.card = memory_pair(vnet=False)
        plan = compile_profile(parse_text(PROFILE.format(port=self.site.port) + more, "home.toml"))
        serving = ServingContext(self.reactor, self.say, ProcessFilter(self.reactor, self.say), watcher=self.api)
        self.dataplane = assemble(plan, make_outbounds(plan), device, serving)
        self.client = ScriptedClient(self.dataplane.driver.context.stack, target_port=self.site.port)
        self.calls = ThreadCalls(self.reactor)
        self._thread = threading.Thread(target=self.reactor.run)
        self._thread.start()
        headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}
        self.http = httpx.Client(base_url=self.api.where, headers=headers, timeout=60)

    def packet(self, flags: int, **fields: object) -> None:
        """The client sends one."""
        self.calls.call(lambda: self.card.write([[bytes(10), self.client.packet(flags, **fields)]])).result(60)

    def get(self, path: str) -> dict[str, object]:
        answer = self.http.get(path)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def flows(self) -> list[dict[str, object]]:
        return list(self.get("/connections")["connections"])  # type: ignore[call-overload]

    def close(self) -> None:
        self.http.close()
        self.calls.call(self.reactor.stop).result(60)
        self._thread.join(60)
        self.dataplane.close()
        self.api.close()
        self.calls.close()
        self.site.listener.close()
        self.reactor.close()
