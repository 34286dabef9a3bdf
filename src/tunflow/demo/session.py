"""One run of the demo's client, in the open or behind a command that carries its traffic.

Rules: the client's lines are all that is believed; silence for too long, an early end or a failed step is an error of
one line; nothing that was started outlives the session.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunflow.demo import client
from tunflow.demo.client import DemoPlan
from tunflow.errors import RemoteError

SILENCE_SECONDS = 45.0
"""More than any of the client's own time-outs."""

GOODBYE_SECONDS = 10.0

STEPS = ("pages", "echoes", "checksums", "latency", "download", "upload")

Progress = Callable[[str, float], None]
"""Told the step and how much of all steps is done, from 0 to 1."""


class DemoError(RemoteError):
    """Something did not come out right; `status` is the exit status that tells so."""

    def __init__(self, message: str, *, status: int = 1, ended_early: bool = False) -> None:
        super().__init__(message)
        self.status = status if status > 0 else 1
        self.said = ""
        """What the tunnel and the client wrote to stderr."""
        self._ended_early = ended_early

    @property
    def line(self) -> str:
        """The one line for the user: the tunnel's own word when it could not even start, else ours and its last."""
        last = self.said.rpartition("\n")[2].removeprefix("tunflow: ")
        if not last:
            return f"demo: {self}"
        return last if self._ended_early else f"demo: {self} ({last})"


class DemoSession:
    """Runs the client behind `prefix` (a command that runs its arguments; empty: in the open)."""

    def __init__(self, prefix: Sequence[str], environment: Mapping[str, str], progress: Progress) -> None:
        self._prefix = list(prefix)
        self._environment = {**os.environ, **environment}
        self._progress = progress
        self.results: dict[str, Any] = {}
        self.peak_memory = 0
        """Peak resident bytes of the process that `prefix` became."""

    def run(self, plan: DemoPlan) -> dict[str, Any]:
        """The outcome of every step. Raises DemoError."""
        command = [*self._prefix, sys.executable, "-I", client.__file__, json.dumps(plan)]
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, env=self._environment
            )
            try:
                self._listen(process)
                self.peak_memory = peak_memory(process.pid)
                assert process.stdin is not None
                process.stdin.close()
                status = process.wait(GOODBYE_SECONDS)
                if status:
                    raise DemoError(f"the client was done but ended with status {status}", status=status)
            except DemoError as error:
                said.seek(0)
                error.said = said.read().decode(errors="replace").strip()
                raise
            except subprocess.TimeoutExpired as error:
                raise DemoError("the tunnel did not end with its client") from error
            finally:
                end(process)
        return self.results

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        """Take in the client's lines until its last step. Raises DemoError."""
        assert process.stdout is not None
        waiting = b""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while STEPS[-1] not in self.results:
                if not selector.select(SILENCE_SECONDS):
                    raise DemoError(f"the client said nothing for {SILENCE_SECONDS:.0f} seconds")
                data = os.read(process.stdout.fileno(), 65536)
                if not data:
                    status = process.wait(GOODBYE_SECONDS)
                    raise DemoError(f"the client ended early with status {status}", status=status, ended_early=True)
                *lines, waiting = (waiting + data).split(b"\n")
                for line in lines:
                    self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            facts = json.loads(line)
        except ValueError:
            raise DemoError(f"the client said {line[:80]!r}") from None
        if "failed" in facts:
            raise DemoError(str(facts["failed"]))
        if "at" in facts:
            self._progress(facts["at"], (STEPS.index(facts["at"]) + facts["done"]) / len(STEPS))
        elif "step" in facts:
            self.results[facts.pop("step")] = facts


def end(process: subprocess.Popen[bytes]) -> None:
    """See to it that a process is gone: asked first, then made to."""
    for stop in (process.terminate, process.kill):
        if process.poll() is None:
            stop()
            with_patience(process)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def with_patience(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process that was told to end, for a while."""
    deadline = time.monotonic() + GOODBYE_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


def peak_memory(pid: int) -> int:
    """The peak resident size of a process in bytes (VmHWM, proc(5)); 0 where it is not told."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
