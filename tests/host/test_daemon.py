"""A process of its own, and who waits for it: who ends the one before it is ready ends the other."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tunflow.host.daemon import spawn

SPAWNS = """
import pathlib, sys
from tunflow.host.daemon import spawn
spawn(sys.argv[2:], b"", pathlib.Path(sys.argv[1]), [])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_was_begun_ends_with_who_waits(number: signal.Signals, tmp_path: Path) -> None:
    log = tmp_path / "log"
    os.mkfifo(log)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    begins = ["serve", f"ss://aes-256-gcm:secret@127.0.0.1:{port}"]  # which never reports
    with subprocess.Popen([sys.executable, "-c", SPAWNS, log, *begins], stderr=subprocess.DEVNULL) as waits:
        with log.open() as said:
            assert said.readline().startswith("serving")
        begun = os.pidfd_open(int(Path(f"/proc/{waits.pid}/task/{waits.pid}/children").read_text()))
        try:
            waits.send_signal(number)
            assert waits.wait(60) == -number
            assert select.select([begun], [], [], 60)[0]
        finally:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(begun, signal.SIGKILL)
            os.close(begun)


def test_a_thread_of_a_program_may_start_one(tmp_path: Path) -> None:
    """As `TunnelManager` does; Python lets only the main thread say what becomes of signals."""
    with ThreadPoolExecutor(1) as pool:
        started = pool.submit(spawn, ["--version"], b"", tmp_path / "log", [])
        assert "before it was ready" in started.result(60)["error"]
    assert (tmp_path / "log").read_text().startswith("tunflow ")
