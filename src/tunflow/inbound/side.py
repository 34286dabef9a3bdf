"""One of the two sockets of a forwarding: what the last system calls said about it, and what waits to be written.

Rules: non-blocking and edge-triggered, as in `pipe`; the end of what is written is told once all before it is out.
"""

from __future__ import annotations

import socket

from tunflow.endpoint import Buffer
from tunflow.inbound.pipe import IOV_MAX, unsent
from tunflow.inbound.relay import READABLE
from tunflow.loop.reactor import WRITE


class Side:
    """A connected socket."""

    __slots__ = ("_said_end", "blocked", "ended", "ending", "outgoing", "readable", "socket")

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.outgoing: list[Buffer] = []
        self.readable = False
        self.blocked = False
        self.ended = False
        """True if the peer will say no more."""
        self.ending = False
        """True if we shall say no more than what waits."""
        self._said_end = False

    def take(self, events: int) -> None:
        """What epoll says."""
        if events & READABLE:
            self.readable = True
        if events & WRITE:
            self.blocked = False

    def read(self, scratch: memoryview) -> memoryview | None:
        """What came, in `scratch`; nothing for the end, None if nothing waits. Raises OSError."""
        try:
            count = self.socket.recv_into(scratch)
        except BlockingIOError:
            self.readable = False
            return None
        if not count:
            self.readable = False
            self.ended = True
        return scratch[:count]

    def flush(self) -> bool:
        """Write what waits. Return True if all of it is out. Raises OSError."""
        while self.outgoing:
            if self.blocked:
                return False
            try:
                sent = self.socket.sendmsg(self.outgoing[:IOV_MAX])
            except BlockingIOError:
                self.blocked = True
                return False
            self.outgoing = unsent(self.outgoing, sent)
        if self.ending and not self._said_end:
            self._said_end = True
            self.socket.shutdown(socket.SHUT_WR)
        return True

    @property
    def waiting(self) -> int:
        """Bytes that wait to be written."""
        return sum(map(len, self.outgoing))

    @property
    def is_done(self) -> bool:
        """True if both directions have ended."""
        return self.ended and self._said_end
