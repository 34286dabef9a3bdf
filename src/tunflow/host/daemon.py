"""Leaves the terminal: starts the same program again as a process of its own, and waits until it is up or says why not.

The new process is started with posix_spawn(3) rather than forked, so nothing of the command line that the user typed,
where a server's password may stand, is in its arguments or its environment: what it needs to know comes through a pipe
on its standard input. It answers through another pipe with one JSON object: `{"ready": …, "notes": […]}` or
`{"error": …}`.

Read first: daemon(7), "New-Style Daemons"; posix_spawn(3).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tunflow.single_values import json_value

READY_FD = 3
"""The descriptor on which the new process reports."""

REPORT_SIZE = 1 << 20


class DaemonReport:
    """The new process's end: says once what came of it."""

    def __init__(self, fd: int = READY_FD) -> None:
        os.set_inheritable(fd, False)
        self._fd = fd

    def ready(self, facts: Mapping[str, Any], notes: Sequence[str] = ()) -> None:
        """The tunnel is up: whoever waits may go, and is told the `notes`."""
        self._say({"ready": dict(facts), "notes": list(notes)})

    def failed(self, line: str, exit_status: int) -> None:
        """It is not; `line` is for the user."""
        self._say({"error": line, "exit_status": exit_status})

    def close(self) -> None:
        """In the parent of who reports: leave it to that."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _say(self, message: dict[str, Any]) -> None:
        if self._fd < 0:
            return
        with suppress(OSError):  # whoever waited has left
            os.write(self._fd, json.dumps(message).encode() + b"\n")
        os.close(self._fd)
        self._fd = -1


def spawn(module_arguments: Sequence[str], instructions: bytes, log: Path, secrets: Sequence[str]) -> dict[str, Any]:
    """Start `python -m tunflow ARGUMENTS` with `instructions` on its stdin; its report when it has made one.

    What it prints goes to the end of `log`; the environment variables named in `secrets` are kept from it. When
    we are interrupted or ended meanwhile, it is asked to end. Raises OSError.
    """
    told, instruct = os.pipe2(os.O_CLOEXEC)
    heard, report = os.pipe2(os.O_CLOEXEC)
    with _told_to_end():
        try:
            pid = _start(module_arguments, told, report, log, secrets)
        finally:
            os.close(told)
            os.close(report)
        try:
            with suppress(BrokenPipeError), os.fdopen(instruct, "wb") as pipe:
                pipe.write(instructions)
            return _report(heard, pid)
        except (KeyboardInterrupt, _Ended):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)
            raise
        finally:
            os.close(heard)


class _Ended(BaseException):
    """A signal that ends a process has come."""


@contextmanager
def _told_to_end() -> Iterator[None]:
    """Raise `_Ended` inside for signals that would end this process, which they do afterwards.

    In another thread than the main one, where a manager's program may start a tunnel, no signal is ever heard.
    """
    came: list[int] = []

    def end(number: int, _: object) -> None:
        came.append(number)
        raise _Ended

    hears = threading.current_thread() is threading.main_thread()
    ends = (signal.SIGTERM, signal.SIGHUP) if hears else ()
    usual = [number for number in ends if signal.getsignal(number) is signal.SIG_DFL]
    for number in usual:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in usual:
            signal.signal(number, signal.SIG_DFL)
        if came:
            os.kill(os.getpid(), came[0])


def _start(module_arguments: Sequence[str], told: int, report: int, log: Path, secrets: Sequence[str]) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    output = os.open(log, flags, 0o600)
    try:
        return os.posix_spawn(
            sys.executable,
            [sys.executable, "-P", "-m", "tunflow", *module_arguments],  # -P: no module from the working directory
            {key: value for key, value in os.environ.items() if key not in secrets},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, told, 0),
                (os.POSIX_SPAWN_DUP2, output, 1),
                (os.POSIX_SPAWN_DUP2, output, 2),
                (os.POSIX_SPAWN_DUP2, report, READY_FD),
            ],
            setsid=True,
            setsigdef=(signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP, signal.SIGINT, signal.SIGTERM),
            setsigmask=(),
        )
    finally:
        os.close(output)


def _report(fd: int, pid: int) -> dict[str, Any]:
    """The line that the process says; made up from how it ended where it says nothing."""
    said = b""
    while not said.endswith(b"\n") and len(said) < REPORT_SIZE and (part := os.read(fd, 65536)):
        said += part
    if said:
        report = json_value(said)
        assert isinstance(report, dict)
        return report
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    how = f"was ended by signal {-code}" if code < 0 else f"ended with status {code}"
    return {"error": f"the tunnel's process {how} before it was ready", "exit_status": 1}
