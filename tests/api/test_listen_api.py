"""The API of a local proxy port: its flows, counts and one way out."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from api_rig import Site


class Port:
    """`tunflow listen` as a program, with a site behind it."""

    def __init__(self) -> None:
        self.site = Site()
        self.echo = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._echo, daemon=True).start()
        command = [sys.executable, "-m", "tunflow", "listen", "127.0.0.1:0", "--server", "direct://"]
        self.process = subprocess.Popen(
            [*command, "--api", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True, env={**os.environ, "NO_COLOR": "1"}
        )
        assert self.process.stderr is not None
        self.port = self.api = ""
        for line in self.process.stderr:
            if "SOCKS and HTTP on" in line:
                self.port = line.split(" on ")[1].split()[0]
            if line.startswith("API and page: "):
                self.api = line.split()[-1].removesuffix("/ui/")
                break
        self.http = httpx.Client(base_url=self.api, timeout=60, trust_env=False)

    def _echo(self) -> None:
        while True:
            try:
                one, _ = self.echo.accept()
            except OSError:
                return
            with one, suppress(OSError):
                while data := one.recv(1000):
                    one.sendall(data)

    def client(self) -> socket.socket:
        """One through SOCKS5 to the echo."""
        host, port = self.port.rsplit(":", 1)
        made = socket.create_connection((host, int(port)), timeout=60)
        where = self.echo.getsockname()
        made.sendall(b"\x05\x01\x00\x05\x01\x00\x01" + socket.inet_aton(where[0]) + where[1].to_bytes(2, "big"))
        answer = b""
        while len(answer) < 12:
            answer += made.recv(12 - len(answer))
        return made

    def flows(self) -> list[dict[str, Any]]:
        return list(self.http.get("/connections").json()["connections"])

    def close(self) -> None:
        self.http.close()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) == 0
        assert self.process.stderr is not None
        self.process.stderr.close()
        self.echo.close()
        self.site.listener.close()


@pytest.fixture(scope="module")
def port() -> Iterator[Port]:
    made = Port()
    yield made
    made.close()


def until(condition, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen"
        os.sched_yield()


def test_a_socks_flow(port: Port) -> None:
    with port.client() as client:
        client.sendall(b"hello")
        assert client.recv(5) == b"hello"
        (flow,) = port.flows()
        assert (flow["upload"], flow["download"], flow["chains"]) == (5, 5, ["direct://"])
        metadata = flow["metadata"]
        assert (metadata["network"], metadata["type"], metadata["sourceIP"]) == ("tcp", "Mixed", "127.0.0.1")
        assert metadata["destinationPort"] == str(port.echo.getsockname()[1])
        assert metadata["processPath"] == os.path.realpath(f"/proc/{os.getpid()}/exe")
        assert port.http.delete(f"/connections/{flow['id']}").status_code == 204
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    until(lambda: not port.flows())
    assert port.http.get("/connections").json()["uploadTotal"] >= 5


def test_a_request_that_is_forwarded(port: Port) -> None:
    before = port.http.get("/connections").json()["downloadTotal"]
    with httpx.Client(proxy=f"http://{port.port}", timeout=60) as client:
        assert client.get(f"http://127.0.0.1:{port.site.port}/").status_code == 204
    until(lambda: port.http.get("/connections").json()["downloadTotal"] > before)
    until(lambda: not port.flows())


def test_what_else_it_tells(port: Port) -> None:
    assert port.http.get("/configs").json()["mixed-port"] == int(port.port.rsplit(":", 1)[1])
    assert port.http.get("/proxies").json()["proxies"]["PROXY"]["type"] == "Direct"
    url = f"http://127.0.0.1:{port.site.port}/"
    assert port.http.get("/proxies/PROXY/delay", params={"url": url}).json()["delay"] >= 1
    assert port.http.get("/proxies").json()["proxies"]["PROXY"]["history"]
    assert port.http.get("/dns/query", params={"name": "a.example"}).status_code == 404
    assert 'tunflow_flows_total{protocol="tcp"}' in port.http.get("/metrics").text
    with port.http.stream("GET", "/logs") as answer:
        assert "SOCKS and HTTP on" in json.loads(next(answer.iter_lines()))["payload"]
