"""Owners of connections for tests: each sends one `Stream`, checks another byte by byte, and can be told what to do.

An owner acts only when its connection notifies it, as the driver's relays do, so a notification that does not come
shows as a transfer that does not end. After changing what an owner wants, call `serve` on it once.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from tunflow.conduit import ClientConduit
from tunflow.stack.stack import Stack
from tunflow.stack.tcp.connection import Connection
from tunflow.testing.stream import Stream


class Owner:
    """The owner of one connection."""

    def __init__(self, connection: Connection, sends: Stream, expects: Stream) -> None:
        self.connection = connection
        self.to_send = 0
        """Bytes that are still to be queued."""
        self.closes = False
        """True if the end of the stream comes behind them."""
        self.will_take: float = inf
        """Bytes that it still is ready to take."""
        self.queued = 0
        """Bytes given to the connection."""
        self.received = 0
        """Bytes taken from it, each checked."""
        self.saw_end = False
        """True if the peer's end of stream came, behind all its bytes."""
        self.left = False
        """True if it aborted, or is done and abandoned the connection."""
        self.longest_wait = 0.0
        """The longest time without a byte while the stream was coming, in seconds."""
        self._last_byte: float | None = None
        self._sends = sends
        self._expects = expects
        connection.user = self

    @property
    def was_reset(self) -> bool:
        """True if the connection ended before its streams did."""
        return self.connection.was_reset

    def abort(self) -> None:
        """End at once."""
        self.left = True
        self.connection.user = None
        self.connection.abort()

    def service(self) -> None:
        """Do what it wants, at the time of the packets in hand."""
        self.serve(self.connection.host.now)

    def rebind(self, stream: ClientConduit) -> None:
        """No filter stands before a connection of a test's."""
        raise AssertionError(f"{stream} is another connection")

    def serve(self, now: float) -> None:
        """Do what it wants and the connection allows."""
        self._take(now)
        self._send(now)
        if self.saw_end and self.closes and not self.to_send and not self.left:
            self.left = True
            self.connection.abandon(now)

    def _take(self, now: float) -> None:
        connection = self.connection
        while connection.readable and self.will_take:
            for piece in connection.take(int(min(self.will_take, connection.readable))):
                size = len(piece)
                assert self._expects.has(self.received, piece), f"wrong bytes at {self.received}"
                self.received += size
                self.will_take -= size
                if self._last_byte is not None:
                    self.longest_wait = max(self.longest_wait, now - self._last_byte)
                self._last_byte = now
        self.saw_end = self.saw_end or connection.at_eof

    def _send(self, now: float) -> None:
        connection = self.connection
        if connection.closed:
            return
        while self.to_send and (room := connection.send_room) > 0:
            piece = self._sends.piece(self.queued, min(self.to_send, room))
            self.queued += len(piece)
            self.to_send -= len(piece)
            connection.send([piece], now)
        if self.closes and not self.to_send:
            connection.close_write(now)


class Owners:
    """The owners of one stack's connections: `serve` is what its driver does in a round."""

    def __init__(self, stack: Stack, asked: Callable[[Connection, float], None] | None = None) -> None:
        """`asked` decides about a connection that somebody wants; without it none may be."""
        self.stack = stack
        self._asked = asked

    def serve(self, now: float) -> None:
        """Ask about every new connection and serve the owner of every changed one."""
        stack = self.stack
        while stack.requests or stack.changed:
            requests, stack.requests = stack.requests, []
            for connection in requests:
                assert self._asked is not None, "nobody was to connect here"
                self._asked(connection, now)
            changed, stack.changed = stack.changed, []
            for connection in changed:
                connection.notified = False
                if isinstance(connection.user, Owner):
                    connection.user.serve(now)
                elif connection.user is not None:
                    connection.user.service()
