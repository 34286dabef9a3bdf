"""One stream of a QUIC connection as a conduit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tunflow.conduit import StreamOwner
from tunflow.endpoint import Buffer
from tunflow.protocols.arrived_bytes import ArrivedBytes
from tunflow.protocols.quic.connection import QUICConnection

SEND_ROOM = 512 * 1024
"""Bytes that may be under way, or wait for it."""

NO_ERROR = 0


class QUICStream:
    """As `Conduit`. `touched` is called when the connection has something to send for it, `left` when it is over; in
    `full` are those whose user saw no room to send."""

    __slots__ = (
        "_arrived",
        "_connection",
        "_ended",
        "_full",
        "_left",
        "_sent_end",
        "_touched",
        "closed",
        "number",
        "user",
        "was_reset",
    )

    is_refused = False

    def __init__(
        self,
        connection: QUICConnection,
        number: int,
        full: set[QUICStream],
        touched: Callable[[], None],
        left: Callable[[QUICStream], None],
    ) -> None:
        self.user: StreamOwner | None = None
        self.number = number
        self.closed = self.was_reset = False
        self._full = full
        self._connection = connection
        self._touched = touched
        self._left = left
        self._arrived = ArrivedBytes()
        self._ended = self._sent_end = False

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
        room = SEND_ROOM - self._connection.unacknowledged(self.number)
        if room > 0:
            return room
        self._full.add(self)
        return 0

    @property
    def unacknowledged(self) -> int:
        """As `Conduit.unacknowledged`."""
        return self._connection.unacknowledged(self.number)

    def take(self, limit: int) -> list[Buffer]:
        """As `Conduit.take`."""
        waited = len(self._arrived)
        pieces = self._arrived.take(limit)
        if not self.closed and self._connection.took(self.number, waited - len(self._arrived)):
            self._touched()
        return pieces

    def send(self, pieces: Sequence[Buffer], now: float, more: bool = False) -> None:  # noqa: ARG002
        """As `Conduit.send`."""
        if not self.closed and not self._sent_end:
            self._connection.send_stream_data(self.number, b"".join(pieces))
            self._touched()

    def close_write(self, now: float, last: Sequence[Buffer] = ()) -> None:  # noqa: ARG002
        """As `Conduit.close_write`."""
        if not self.closed and not self._sent_end:
            self._sent_end = True
            self._connection.send_stream_data(self.number, b"".join(last), end_stream=True)
            self._touched()
            self._leave_if_over()

    def abort(self) -> None:
        """As `Conduit.abort`."""
        if not self.closed:
            self._connection.reset(self.number, NO_ERROR)
            self._touched()
            self._end(was_reset=True)

    # What the session says.

    def arrived(self, data: bytes, is_end: bool) -> None:
        """Bytes from the server, and whether they were its last."""
        if data:
            self._arrived.add(data)
        if is_end:
            self._ended = True
            self._leave_if_over()

    def unwanted(self) -> None:
        """The server reads no more of it; what it sends still comes, and what is sent to it is lost."""
        self._sent_end = True
        self._leave_if_over()

    def lost(self) -> None:
        """The server reset it, or the connection is over."""
        if not self.closed:
            self._end(was_reset=True)

    def _leave_if_over(self) -> None:
        if self._ended and self._sent_end:
            self._end(was_reset=False)

    def _end(self, *, was_reset: bool) -> None:
        self.closed = True
        if was_reset:
            self.was_reset = True
            self._arrived.clear()
        self._left(self)
