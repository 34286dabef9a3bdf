"""`tunflow top` on a real API: what it reads and does, and how it leaves."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from api_rig import SECRET, Rig

from tunflow.api import guard
from tunflow.errors import LocalError, RemoteError
from tunflow.screens.api_source import APISource
from tunflow.wire.tcp import SYN


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.close()


def until(condition, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen"
        os.sched_yield()


def test_what_there_is(rig: Rig) -> None:
    source = APISource(rig.api.where)
    rig.packet(SYN, seq=0)
    until(lambda: source.look().flows)
    picture = source.look()
    assert picture.flows is not None
    (flow,) = picture.flows
    assert (flow.network, flow.path, flow.server) == ("tcp", ("pick", "a"), "a")
    assert flow.rule == f"DstPort {rig.site.port}"
    assert [(group.name, group.kind) for group in picture.groups] == [("pick", "select"), ("fastest", "url-test")]
    source.end(flow.number)
    until(lambda: not source.look().flows)


def test_what_it_does(rig: Rig) -> None:
    source = APISource(rig.api.where.removeprefix("http://"))
    source.choose("pick", "b")
    assert next(group.now for group in source.look().groups if group.name == "pick") == "b"
    with pytest.raises(RemoteError, match="zz"):
        source.choose("pick", "zz")
    assert set(source.measure("fastest")) == {"a", "b"}
    assert set(source.measure("a")) == {"a"}
    rig.say("a line")
    assert next(source.lines()) == "a line"


def test_a_secret_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "DELAY", 0.01)
    locked = Rig(SECRET)
    try:
        with pytest.raises(LocalError, match="TUNFLOW_API_SECRET"):
            APISource(locked.api.where).look()
        assert APISource(locked.api.where, SECRET).look().flows == ()
    finally:
        locked.close()


@pytest.mark.parametrize("address", ["", "ftp://a", "http://", "nonsense:x"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(LocalError, match="--api"):
        APISource(address)


def test_json_and_errors(rig: Rig) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tunflow", "top", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)

    found = run("--json", "--api", rig.api.where)
    assert found.returncode == 0
    assert {group["name"] for group in json.loads(found.stdout)["groups"]} == {"pick", "fastest"}
    for arguments, words in (
        (("--api", rig.api.where), "needs a terminal"),
        (("--api", "127.0.0.1:1"), "Connection refused"),
        (("--interval", "0", "--api", rig.api.where), "--interval"),
    ):
        refused = run(*arguments)
        assert refused.returncode == 2
        assert words in refused.stderr
        assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize(("key", "status"), [(b"q", 0), (b"\x03", 130)])
def test_in_a_terminal(rig: Rig, key: bytes, status: int) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.execv(sys.executable, [sys.executable, "-m", "tunflow", "top", "--api", rig.api.where])
    shown = b""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                shown += os.read(terminal, 65536)
            except OSError:
                break
            if b"0 flows" in shown and key:
                os.write(terminal, key)
                key = b""
    os.close(terminal)
    assert b"Traceback" not in shown, shown[-3000:].decode(errors="replace")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == status
