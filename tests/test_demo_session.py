"""The demo's client against its site, without a tunnel, and what becomes of everything that can go wrong."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tunflow.demo import client, session
from tunflow.demo.children import Child
from tunflow.demo.client import DemoPlan
from tunflow.demo.servers import be_site
from tunflow.demo.session import STEPS, DemoError, DemoSession
from tunflow.demo.site import Ports
from tunflow.errors import LocalError, RemoteError


@pytest.fixture(scope="module")
def ports() -> Iterator[Ports]:
    child = Child("site", be_site)
    yield Ports(**child.ready)
    child.end()


def plan_for(ports: Ports) -> DemoPlan:
    pages = [("IPv4", "127.0.0.1", ports.http4)]
    echoes = [("IPv4", "127.0.0.1", ports.echo4)]
    if ports.http6:
        pages.append(("IPv6", "::1", ports.http6))
        echoes.append(("IPv6", "::1", ports.echo6))
    return DemoPlan(pages=pages, echoes=echoes, measured=("127.0.0.1", ports.http4), seconds=0.05)


def run(plan: DemoPlan, prefix: tuple[str, ...] = ()) -> tuple[DemoSession, list[tuple[str, float]]]:
    told: list[tuple[str, float]] = []
    made = DemoSession(prefix, {}, lambda step, done: told.append((step, done)))
    made.run(plan)
    return made, told


def test_the_client_does_every_step_and_tells_how_far_it_is(ports: Ports) -> None:
    made, told = run(plan_for(ports))
    assert tuple(made.results) == STEPS
    pages = made.results["pages"]["pages"]
    assert pages[0]["saw"]["host"] == f"127.0.0.1:{ports.http4}"
    assert all(page["saw"]["path"] == "/hello" for page in pages)
    assert made.results["checksums"] == {"bytes_down": 16 << 20, "bytes_up": 16 << 20}
    for step in ("download", "upload"):
        assert made.results[step]["bytes"] >= client.FIRST_BLOCKS << 20
        assert made.results[step]["seconds"] >= 0.05
    assert 0 < made.results["latency"]["open_connection"] < 1
    assert [done for _, done in told] == sorted(done for _, done in told)
    assert told[-1] == ("upload", 1.0)
    assert made.peak_memory > 1 << 20


def test_wrong_bytes_are_noticed_in_both_directions(ports: Ports, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = bytearray(client.BLOCK)
    wrong[-1] ^= 1
    monkeypatch.setattr(client, "BLOCK", bytes(wrong))
    with pytest.raises(ValueError, match="not what the site sent"):
        client.download(client.connect("127.0.0.1", ports.http4), 1)
    with pytest.raises(ValueError, match="not what the site received"):
        client.upload(client.connect("127.0.0.1", ports.http4), 2)


def test_a_wrong_checksum_is_noticed(ports: Ports, monkeypatch: pytest.MonkeyPatch) -> None:
    class Sha256:
        """A checksum that is never right."""

        def __init__(self, _data: bytes) -> None:
            pass

        def hexdigest(self) -> str:
            return "0" * 64

    monkeypatch.setattr(client.hashlib, "sha256", Sha256)
    with pytest.raises(ValueError, match="16777216 bytes that came down"):
        client.checksums("127.0.0.1", ports.http4)


def test_a_failed_step_is_one_line(ports: Ports) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        plan = plan_for(ports)
        plan["pages"] = [("IPv4", "127.0.0.1", unused.getsockname()[1])]
        with pytest.raises(DemoError) as caught:
            run(plan)
    assert caught.value.line == "demo: pages: [Errno 111] Connection refused"
    assert caught.value.status == 1


def test_a_datagram_without_an_answer_is_a_failure(ports: Ports, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "ECHO_SECONDS", 0.01)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        with pytest.raises(TimeoutError, match="no answer over UDP"):
            client.echo("IPv4", "127.0.0.1", mute.getsockname()[1])


def test_a_tunnel_that_cannot_start_is_told_in_its_own_words(ports: Ports) -> None:
    script = "import sys; sys.exit(print('tunflow: no namespaces: do this', file=sys.stderr) or 2)"
    with pytest.raises(DemoError) as caught:
        run(plan_for(ports), (sys.executable, "-c", script))
    assert caught.value.line == "no namespaces: do this"
    assert caught.value.status == 2


def test_a_client_that_falls_silent_is_ended(ports: Ports, monkeypatch: pytest.MonkeyPatch) -> None:
    started_by_session: list[subprocess.Popen[bytes]] = []

    def popen(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        started_by_session.append(real(*arguments, **options))
        return started_by_session[0]

    real = subprocess.Popen
    monkeypatch.setattr(session.subprocess, "Popen", popen)
    monkeypatch.setattr(session, "SILENCE_SECONDS", 0.1)
    with pytest.raises(DemoError, match="said nothing for"):
        run(plan_for(ports), ("sh", "-c", "exec sleep 60"))
    (started,) = started_by_session
    assert started.poll() is not None


def test_a_child_that_cannot_start_is_one_line() -> None:
    def main(_control: socket.socket, _say: object) -> None:
        raise LocalError("cannot listen")

    with pytest.raises(RemoteError, match="the demo's server: cannot listen"):
        Child("server", main)  # type: ignore[arg-type]


def test_a_child_ends_with_its_parent_s_socket() -> None:
    def main(control: socket.socket, say: object) -> None:
        say({"ready": 1})  # type: ignore[operator]
        control.recv(1)
        say({"last": 2})  # type: ignore[operator]

    child = Child("test", main)  # type: ignore[arg-type]
    assert child.ready == {"ready": 1}
    pid = child.pid
    assert child.end() == {"last": 2}
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
