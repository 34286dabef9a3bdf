"""A channel of SSH as a conduit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import asyncssh

from tunflow.conduit import StreamOwner
from tunflow.endpoint import Buffer
from tunflow.loop.reactor import Reactor
from tunflow.protocols.arrived_bytes import ArrivedBytes

WINDOW = 1 << 20
"""Bytes that may wait here to be taken until the server is given no more room."""
SEND_ROOM = 512 * 1024
"""Bytes that may wait to be sent."""


class SSHChannel(asyncssh.SSHTCPSession[bytes]):
    """As `Conduit`, and as asyncssh's session. `backlog` tells what waits in the connection, `left` hears its end."""

    is_refused = False

    def __init__(self, reactor: Reactor, backlog: Callable[[], int], left: Callable[[SSHChannel], None]) -> None:
        self.user: StreamOwner | None = None
        self.closed = self.was_reset = False
        self._reactor = reactor
        self._backlog = backlog
        self._left = left
        self._channel: Any = None
        self._arrived = ArrivedBytes()
        self._ended = self._sent_end = self._is_full = self._is_paused = self._is_telling = False

    # As `Conduit`.

    @property
    def readable(self) -> int:
        """As `Conduit.readable`."""
        return len(self._arrived)

    @property
    def at_eof(self) -> bool:
        """As `Conduit.at_eof`."""
        return self._ended and not self._arrived

    @property
    def send_room(self) -> int:
        """As `Conduit.send_room`."""
        room = SEND_ROOM - self.unacknowledged - self._backlog()
        self._is_full = room <= 0
        return max(0, room)

    @property
    def unacknowledged(self) -> int:
        """Bytes that the server gives no room for yet: SSH has no other sign that they arrived."""
        return 0 if self._channel is None or self.closed else self._channel.get_write_buffer_size()

    def take(self, limit: int) -> list[Buffer]:
        """As `Conduit.take`."""
        pieces = self._arrived.take(limit)
        if self._is_paused and len(self._arrived) < WINDOW // 2 and not self.closed:
            self._is_paused = False
            self._channel.resume_reading()
        return pieces

    def send(self, pieces: Sequence[Buffer], now: float, more: bool = False) -> None:  # noqa: ARG002
        """As `Conduit.send`."""
        data = b"".join(pieces)
        if data and not self.closed and not self._sent_end:
            self._channel.write(data)

    def close_write(self, now: float, last: Sequence[Buffer] = ()) -> None:
        """As `Conduit.close_write`."""
        if not self.closed and not self._sent_end:
            self.send(last, now)
            self._sent_end = True
            self._channel.write_eof()
            self._leave_if_over()

    def abort(self) -> None:
        """As `Conduit.abort`."""
        if not self.closed:
            self._end(was_reset=True)
            if self._channel is not None:
                self._channel.abort()

    def has_room(self) -> None:
        """The connection took what waited."""
        if self._is_full:
            self._tell()

    # As asyncssh's session.

    def connection_made(self, chan: Any) -> None:
        """As in asyncssh."""
        self._channel = chan
        if self.closed:
            chan.abort()

    def data_received(self, data: bytes, datatype: int | None) -> None:  # noqa: ARG002
        """As in asyncssh."""
        if self.closed:
            return
        self._arrived.add(data)
        if len(self._arrived) >= WINDOW and not self._is_paused:
            self._is_paused = True
            self._channel.pause_reading()
        self._tell()

    def eof_received(self) -> bool:
        """Return True for the other direction to stay open (as in asyncssh)."""
        self._ended = True
        self._leave_if_over()
        self._tell()
        return True

    def resume_writing(self) -> None:
        """As in asyncssh."""
        self.has_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """As in asyncssh: the channel is closed, in order only where the server had said that it sends no more."""
        if not self.closed:
            self._end(was_reset=exc is not None or not self._ended)
            self._tell()

    # Inside.

    def _leave_if_over(self) -> None:
        if self._ended and self._sent_end and not self.closed:
            self._channel.close()
            self._end(was_reset=False)

    def _end(self, *, was_reset: bool) -> None:
        self.closed = True
        if was_reset:
            self.was_reset = True
            self._arrived.clear()
        self._left(self)

    def _tell(self) -> None:
        """Tell the user in the next round: asyncssh brings bytes, too, from within what the user calls."""
        if not self._is_telling:
            self._is_telling = True
            self._reactor.call_soon(self._serve)

    def _serve(self) -> None:
        self._is_telling = False
        if self.user is not None:
            self.user.service()
