"""One stream of a session: what its owner has not taken, and what the server has not."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from tunflow.conduit import StreamOwner
from tunflow.endpoint import Buffer
from tunflow.protocols.arrived_bytes import ArrivedBytes
from tunflow.protocols.codec import ProxyRefused
from tunflow.protocols.stream_session import SessionStream

QUEUE = 256 * 1024
"""Bytes that an owner may queue: what is taken from a client before the server takes it."""


class Streams(Protocol):
    """The session, as its streams see it."""

    is_blocked: bool
    """True if the stream below has bytes that it does not take yet."""

    def has_said(self, stream: SharedStream) -> None:
        """It has bytes to send, or its end."""

    def taken(self, stream: SharedStream, size: int) -> None:
        """Its owner took bytes."""

    def leave(self, stream: SharedStream) -> None:
        """Its owner wants no more of it."""


class SharedStream(SessionStream):
    """One stream. As `Conduit`; a refusal of the server is raised by `take`, once all before it was taken."""

    __slots__ = (
        "_arrived",
        "_refusal",
        "_session",
        "closed",
        "ended",
        "finishing",
        "is_refused",
        "number",
        "queue",
        "queued",
        "said_end",
        "user",
        "was_reset",
    )

    about = "a stream in a session"

    def __init__(self, session: Streams, number: int) -> None:
        self._session = session
        self.number = number
        self.user: StreamOwner | None = None
        self.closed = self.was_reset = self.is_refused = False
        self.ended = False
        """True if the server will say no more."""
        self.queue: deque[Buffer] = deque()
        self.queued = 0
        self.finishing = self.said_end = False
        self._arrived = ArrivedBytes()
        self._refusal: ProxyRefused | None = None

    @property
    def readable(self) -> int:
        """As `Conduit.readable`; a refusal counts as a byte, so that its owner takes it."""
        return len(self._arrived) + (self._refusal is not None)

    @property
    def at_eof(self) -> bool:
        """As `Conduit.at_eof`."""
        return self.ended and not self.readable

    @property
    def send_room(self) -> int:
        """As `Conduit.send_room`."""
        if self.closed or self.finishing or self._session.is_blocked:
            return 0
        return max(0, QUEUE - self.queued)

    @property
    def unacknowledged(self) -> int:
        """As `Conduit.unacknowledged`."""
        return self.queued

    def take(self, limit: int) -> list[Buffer]:
        """As `Conduit.take`. Raises ProxyRefused."""
        waited = len(self._arrived)
        taken = self._arrived.take(limit)
        size = waited - len(self._arrived)
        if size:
            self._session.taken(self, size)
        elif self._refusal is not None:
            refusal, self._refusal = self._refusal, None
            raise refusal
        return taken

    def send(self, pieces: Sequence[Buffer], now: float, more: bool = False) -> None:  # noqa: ARG002
        """As `Conduit.send`."""
        if self.closed or self.finishing:
            return
        for piece in pieces:
            if size := len(piece):
                self.queue.append(piece)
                self.queued += size
        self._session.has_said(self)

    def close_write(self, now: float, last: Sequence[Buffer] = ()) -> None:
        """As `Conduit.close_write`."""
        self.send(last, now)
        self.finishing = True
        self._session.has_said(self)

    def abort(self) -> None:
        """As `Conduit.abort`."""
        if not self.closed:
            self._session.leave(self)
            self.over(reset=True)

    def cut(self) -> None:
        """As `Contained.cut`."""
        self.abort()
        self.serve()

    def serve(self) -> None:
        """As `SessionStream.serve`."""
        if self.user is not None:
            self.user.service()

    # For the session.

    def heard(self, data: bytes) -> None:
        """Bytes from the server."""
        self._arrived.add(data)

    def refuse(self, refusal: ProxyRefused) -> None:
        """The server will not carry it; the owner hears so when it takes."""
        if self._refusal is None and not self.closed:
            self._refusal = refusal

    def over(self, *, reset: bool) -> None:
        """Nothing goes any more, out of order or not; what was heard can still be taken."""
        self.closed = True
        self.was_reset = self.was_reset or reset
        self.ended = self.ended or not reset
        self.queue.clear()
        self.queued = 0

    def next_bytes(self, room: int) -> bytes:
        """Up to `room` bytes of what is to be sent."""
        queue = self.queue
        pieces: list[Buffer] = []
        while queue and room > 0:
            piece = queue.popleft()
            if len(piece) > room:
                rest = memoryview(piece)
                queue.appendleft(rest[room:])
                piece = rest[:room]
            pieces.append(piece)
            room -= len(piece)
            self.queued -= len(piece)
        return b"".join(pieces)
