"""What systemd gives a service in its environment, right and wrong: never more than silence."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from math import inf
from pathlib import Path

import pytest

from tunflow.host.service_manager import ServiceManager


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield sock


def test_states_and_the_watchdog(heard: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    manager = ServiceManager()
    assert heard.recv(100) == b"WATCHDOG=1"
    manager.feed()  # not yet
    manager.tell("READY=1")
    assert heard.recv(100) == b"READY=1"
    assert manager.feed_at < inf
    assert "NOTIFY_SOCKET" not in os.environ  # programs that we start are not the service


def test_an_abstract_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"tunflow-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0{name}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        ServiceManager().tell("READY=1")
        assert sock.recv(100) == b"READY=1"


@pytest.mark.parametrize("limit", ["", "0", "-1", "1_0", "\u0661", "9" * 10_000, "x"])
def test_a_limit_that_is_none(heard: socket.socket, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", limit)
    assert ServiceManager().feed_at == inf
    with pytest.raises(BlockingIOError):
        heard.recv(100)


def test_a_watchdog_of_another_process(heard: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "1000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert ServiceManager().feed_at == inf


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    ServiceManager().tell("READY=1")
