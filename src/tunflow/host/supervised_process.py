"""A process that a supervisor forked: what it is given, the signs of life that it gives, and how it ends.

Read first: fork(2), pidfd_open(2), eventfd(2), signal(7).
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

REQUEST_PATIENCE = 10.0
"""Seconds for a request to come whole: a process may be stopped in the middle of it."""

END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class SupervisorLink:
    """What a process that serves the tunnel has of its supervisor."""

    helper: socket.socket
    """What `HelperNetwork` speaks through."""
    supervisor: int
    """The supervisor's process id."""
    restarts: int
    """How often the tunnel was started again, this time included, and by a service manager."""
    last_cause: str | None
    """Why the one before ended."""
    instructions: dict[str, Any] | None
    """What it was told to `remember` the last time; None for nothing."""
    beats_fd: int
    beat_every: float
    """Seconds."""
    is_again: bool = False
    """True if the same supervisor had forked another before."""

    def beat(self) -> None:
        """Give a sign of life."""
        with suppress(OSError):
            os.eventfd_write(self.beats_fd, 1)

    @property
    def facts(self) -> dict[str, Any]:
        """For `status --json`."""
        return {"helper": self.supervisor, "restarts": self.restarts, "last_cause": self.last_cause}


class SupervisedProcess:
    """One forked process."""

    def __init__(self, pid: int, link: socket.socket, beats_fd: int) -> None:
        self.pidfd = os.pidfd_open(pid)
        self.socket = link
        self.beats_fd = beats_fd
        self.alive_at = time.monotonic()
        """When it gave the last sign of life."""
        self.up_at: float | None = None
        self.beats = 0
        self.is_ending = self.has_hung_up = False
        self.is_final = False
        """True if it took leave, and that was the end of the tunnel."""
        self.failure: str | None = None
        """Why it could not come up, in its own words."""
        self.is_unreached = False
        """True if that is because no server was reached."""
        self.hung: str | None = None
        self.status = 1
        """As `os.waitstatus_to_exitcode` has it."""
        self._pid = pid
        self._ended_at = 0.0

    @classmethod
    def fork(
        cls,
        link_of: Callable[[socket.socket, int], SupervisorLink],
        serve: Callable[[SupervisorLink], int],
        signals: EndSignals,
    ) -> SupervisedProcess:
        """Fork one that does what `serve` does and ends with the status that it returns. Raises OSError."""
        ours, theirs = socket.socketpair()
        ours.settimeout(REQUEST_PATIENCE)
        beats_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        link = link_of(theirs, beats_fd)
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            status = 70
            try:
                ours.close()
                signals.forget()
                status = serve(link)
            except BaseException:
                traceback.print_exc()
            finally:
                with suppress(Exception):
                    sys.stdout.flush()
                    sys.stderr.flush()
                os._exit(status)
        theirs.close()
        return cls(pid, ours, beats_fd)

    @property
    def was_up(self) -> bool:
        """True if it said that the tunnel is up."""
        return self.up_at is not None

    @property
    def lived(self) -> float:
        """Seconds that it was up."""
        return 0.0 if self.up_at is None else self._ended_at - self.up_at

    @property
    def why(self) -> str:
        """How it ended, behind "the process"."""
        if self.hung is not None:
            return self.hung
        if self.status < 0:
            return f"was killed by {signal.Signals(-self.status).name}"
        return f"ended with status {self.status}"

    @property
    def cause(self) -> str:
        """Why it ended, for people."""
        return self.failure or f"the tunnel's process {self.why}"

    def has_beaten(self) -> None:
        """Take note of signs of life."""
        with suppress(BlockingIOError):
            self.beats += os.eventfd_read(self.beats_fd)
        self.alive_at = time.monotonic()

    def end(self, number: signal.Signals) -> None:
        """Send a signal; a process whose user we may not signal sees the socket close."""
        self.is_ending = True
        self.alive_at = time.monotonic()
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except PermissionError:
            self.socket.shutdown(socket.SHUT_RDWR)
        except ProcessLookupError:
            pass

    def reap(self) -> None:
        """Take note of how it ended, and give its descriptors back."""
        _, status = os.waitpid(self._pid, 0)
        self.status = os.waitstatus_to_exitcode(status)
        self._ended_at = time.monotonic()
        os.close(self.pidfd)
        os.close(self.beats_fd)
        self.socket.close()


class EndSignals:
    """Those that mean the end, as they come."""

    def __init__(self) -> None:
        self.fd, self._told_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        """Readable when one came."""
        signal.set_wakeup_fd(self._told_fd, warn_on_full_buffer=False)
        for number in END_SIGNALS:
            signal.signal(number, lambda _number, _frame: None)

    def came(self) -> bool:
        """Return True if one came since the last time."""
        try:
            return any(number in END_SIGNALS for number in os.read(self.fd, 256))
        except BlockingIOError:
            return False

    def forget(self) -> None:
        """In a child: be an ordinary process, which a terminal that goes does not end."""
        signal.set_wakeup_fd(-1)
        os.close(self.fd)
        os.close(self._told_fd)
        for number in END_SIGNALS:
            signal.signal(number, signal.SIG_IGN if number == signal.SIGHUP else signal.SIG_DFL)
