"""`tunflow serve` as a process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest

COMMAND = (sys.executable, "-m", "tunflow", "serve")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("by", ["argument", "environment"])
def test_it_says_when_it_is_ready_and_ends_well_on_a_signal(number: signal.Signals, by: str) -> None:
    port = free_port()
    link = f"ss://chacha20-ietf-poly1305:secret@127.0.0.1:{port}"
    arguments, environment = ([link], {}) if by == "argument" else ([], {"TUNFLOW_SERVER": link})
    with subprocess.Popen(
        [*COMMAND, *arguments], stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    ) as served:
        assert served.stderr is not None
        assert served.stderr.readline() == f"serving ss://chacha20-ietf-poly1305 on 127.0.0.1:{port} (TCP + UDP)\n"
        with socket.create_connection(("127.0.0.1", port)) as idle:
            served.send_signal(number)
            assert served.wait(5) == 0
            assert idle
        assert served.stderr.read() == ""


@pytest.mark.parametrize(
    ("link", "says"),
    [
        ("ss://aes-256-gcm:secret@192.0.2.1:8388", "cannot listen on 192.0.2.1:8388: not an address of this machine"),
        ("ss://rot13:secret@127.0.0.1:8388", "unknown method 'rot13'"),
        ("direct://", "serve takes an ss:// link, not direct://"),
    ],
)
def test_what_is_wrong_is_one_line_and_status_2(link: str, says: str) -> None:
    done = subprocess.run([*COMMAND, link], capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "secret" not in done.stderr
