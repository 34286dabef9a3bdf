"""Tells systemd how a service does (sd_notify(3), sd_watchdog_enabled(3)); says nothing where another started it."""

from __future__ import annotations

import os
import socket
import sys
import time
from contextlib import suppress
from math import inf

from tunflow.numbers import NotANumber, whole_number


class ServiceManager:
    """Made while the rights are still there to reach the socket that NOTIFY_SOCKET names."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self.feed_at = inf
        """When its watchdog is to be fed again, on the monotonic clock."""
        self._interval = inf
        path = os.environ.pop("NOTIFY_SOCKET", "")
        limit, pid = os.environ.pop("WATCHDOG_USEC", ""), os.environ.pop("WATCHDOG_PID", "")
        if not path:
            return
        # A manager that does not listen must not stop what it manages.
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            sock.connect("\0" + path[1:] if path.startswith("@") else path)
            self._socket = sock
        except OSError:
            sock.close()
            return
        with suppress(NotANumber):
            microseconds = whole_number(limit, sys.maxsize)
            if microseconds and pid in ("", str(os.getpid())):
                self._interval = microseconds / 1e6 / 3
                self.feed_at = 0.0
                self.feed()

    @property
    def is_there(self) -> bool:
        """True if one started us."""
        return self._socket is not None

    def tell(self, state: str) -> None:
        """Such as `READY=1`."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.send(state.encode())

    def feed(self) -> None:
        """Feed its watchdog, where it is time to."""
        now = time.monotonic()
        if now >= self.feed_at:
            self.feed_at = now + self._interval
            self.tell("WATCHDOG=1")
