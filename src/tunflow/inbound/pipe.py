"""One direction of a relay: bytes read from one socket, turned by a codec, written to the other.

Rules:
1. Sockets are non-blocking and edge-triggered: `readable` and `blocked` remember what the last system call
   said, and events only overturn them.
2. Nothing is read while something waits to be written, so a direction never holds more than one read's worth.
3. The end of the source passes on as a half-close, after everything before it.
4. A read that brings less than asked for has drained the socket (epoll(7)), unless its end was announced.

Bytes are touched by the kernel and the cipher only; what is kept back is a slice of the gather list.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket

READ_SIZE = 128 * 1024
"""Bytes asked for in one read: eight records of the largest size; more was not faster."""

READS_PER_TURN = 4
"""Reads before other connections get their turn."""

IOV_MAX = 1024
"""Linux UIO_MAXIOV: pieces that one sendmsg takes."""

Turn = Callable[[memoryview], tuple[list[Buffer], int]]
"""Source bytes to sink bytes, and how many source bytes that used up; what is left is presented again."""


class Pipe:
    """Moves bytes from `source` to `sink`; without a sink it only reads when told to."""

    __slots__ = (
        "_carry",
        "_finish",
        "_scratch",
        "_turn",
        "blocked",
        "done",
        "ended",
        "hangup",
        "pending",
        "readable",
        "sink",
        "source",
    )

    def __init__(
        self,
        source: socket.socket | None,
        turn: Turn,
        scratch: memoryview,
        finish: Callable[[], list[Buffer]] | None = None,
    ) -> None:
        """`finish` makes what is said behind the source's end."""
        self.source = source
        self.sink: socket.socket | None = None
        self.pending: list[Buffer] = []
        self.readable = False
        self.hangup = False
        self.blocked = False
        self.ended = False
        self.done = False
        self._turn = turn
        self._finish = finish
        self._scratch = scratch
        self._carry = b""

    @property
    def waiting(self) -> int:
        """Bytes that wait to be written."""
        return sum(map(len, self.pending))

    def pump(self) -> bool:
        """Move what can be moved now. Return True when there is more to do at once. Raises OSError, BadPacket."""
        sink = self.sink
        if sink is None or self.done:
            return False
        for _ in range(READS_PER_TURN):
            if self.pending and (self.blocked or not self._flush(sink)):
                return False
            if self.ended and self._finish is not None:
                self.pending, self._finish = self._finish(), None
                continue
            if self.ended:
                sink.shutdown(socket.SHUT_WR)
                self.done = True
                return False
            if not self.readable:
                return False
            self.fill()
        return True

    def give_back(self, data: bytes) -> None:
        """Bytes of the source that somebody else has read already."""
        self._carry = data

    def fill(self) -> None:
        """Read once and turn what came into `pending`. Raises OSError, BadPacket."""
        assert self.source is not None
        have = len(self._carry)
        view = self._scratch
        view[:have] = self._carry
        try:
            count = self.source.recv_into(view[have:])
        except BlockingIOError:
            self.readable = False
            return
        if count == 0:
            self.ended = True
            if have:
                raise BadPacket("the stream ends within a record")
            return
        if count < len(view) - have and not self.hangup:
            self.readable = False
        have += count
        self.pending, used = self._turn(view[:have])
        self._carry = bytes(view[used:have])

    def _flush(self, sink: socket.socket) -> bool:
        """Write what waits. Return False when the socket took less."""
        while self.pending:
            try:
                sent = sink.sendmsg(self.pending[:IOV_MAX])
            except BlockingIOError:
                self.blocked = True
                return False
            all_offered = len(self.pending) <= IOV_MAX
            self.pending = unsent(self.pending, sent)
            if self.pending and all_offered:
                self.blocked = True
                return False
        return True


def unsent(pieces: list[Buffer], sent: int) -> list[Buffer]:
    """What is left of `pieces` once the first `sent` bytes of them are gone."""
    for index, piece in enumerate(pieces):
        if sent < len(piece):
            return [memoryview(piece)[sent:], *pieces[index + 1 :]]
        sent -= len(piece)
    return []
