"""Which ssh session a command was typed in, by its own environment or by that of those who started it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tunflow.addresses import ip_address
from tunflow.host.network.reply_routes import HostSession
from tunflow.host.network.ssh_session import VARIABLE, parse, ssh_session

SESSION = HostSession(22, ip_address("203.0.113.5"), 50000)


def process(proc: Path, pid: int, parent: int, environ: bytes) -> None:
    folder = proc / str(pid)
    folder.mkdir()
    (folder / "environ").write_bytes(environ)
    (folder / "status").write_text(f"Name:\tsh\nPPid:\t{parent}\nUid:\t0\n")


def test_its_own_environment_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, "203.0.113.5 50000 192.0.2.1 22")
    assert ssh_session(tmp_path) == SESSION


def test_behind_sudo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    process(tmp_path, os.getppid(), 1001, b"A=b\0")
    process(tmp_path, 1001, 1000, b"A=b\0SSH_CONNECTION=203.0.113.5 50000 192.0.2.1 22\0")
    process(tmp_path, 1000, 1, b"SSH_CONNECTION=203.0.113.6 1 192.0.2.1 22\0")
    assert ssh_session(tmp_path) == SESSION


@pytest.mark.parametrize("parent", [1, 0, 999])
def test_no_session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, parent: int) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    process(tmp_path, os.getppid(), parent, b"A=b\0MY_SSH_CONNECTION=203.0.113.5 50000 192.0.2.1 22\0")
    assert ssh_session(tmp_path) is None


@pytest.mark.parametrize(
    "text", ["", "x", "a b c d", "203.0.113.5 50000 192.0.2.1", "203.0.113.5 99999 192.0.2.1 22", "1.1.1.1 1 1.1.1.1 x"]
)
def test_what_is_no_session(text: str) -> None:
    assert parse(text) is None
