"""The receiving half of a connection: what arrived in order, what arrived early, and the window offered.

Sequence numbers here are unwrapped: they count on beyond 2^32, so that comparing two is plain arithmetic. Payload is
never copied; a piece is a view of the packet it came in.
"""

from __future__ import annotations

from bisect import insort
from collections import deque

from tunflow.endpoint import Buffer

SMALL = 1024
"""Pieces smaller than this are joined with a small neighbour: a client that sends single bytes to an owner who does
not take them must not cost a packet's memory for each."""


class Receiver:
    """Bytes from the client, up to `limit` of them held for an owner who has not taken them yet."""

    __slots__ = ("_early", "_early_size", "advertised", "limit", "next", "pieces", "queued")

    def __init__(self, start: int, limit: int) -> None:
        self.next = start
        """RCV.NXT, unwrapped: the sequence number expected next."""
        self.limit = limit
        self.pieces: deque[memoryview] = deque()
        """In-order bytes for the owner."""
        self.queued = 0
        self.advertised = start
        """The right edge of the window last offered; it never moves left (RFC 9293 §3.8.6)."""
        self._early: list[tuple[int, int, memoryview]] = []
        self._early_size = 0

    @property
    def window(self) -> int:
        """How many bytes beyond `next` may arrive: what the owner left free, and never less than was promised."""
        return max(self.limit - self.queued, self.advertised - self.next, 0)

    @property
    def has_gap(self) -> bool:
        """Whether bytes wait for earlier ones."""
        return bool(self._early)

    def accept(self, start: int, payload: memoryview) -> bool:
        """Take a segment's payload that begins at `start`; whether `next` moved. What exceeds the window is cut off."""
        skip = self.next - start
        if skip > 0:
            payload = payload[skip:]
            start = self.next
        excess = start + len(payload) - self.next - self.window
        if excess > 0:
            payload = payload[: max(0, len(payload) - excess)]
        if not payload:
            return False
        if start > self.next:
            self._keep_early(start, payload)
            return False
        self._append(payload)
        while self._early and self._early[0][0] <= self.next:
            begin, end, early = self._early.pop(0)
            self._early_size -= end - begin
            if end > self.next:
                self._append(early[self.next - begin :])
        return True

    def take(self, limit: int) -> list[Buffer]:
        """Up to `limit` in-order bytes for the owner, whose they are from now on; the window opens accordingly."""
        pieces = self.pieces
        if self.queued <= limit:
            taken: list[Buffer] = list(pieces)
            pieces.clear()
            self.queued = 0
            return taken
        taken = []
        self.queued -= limit
        while limit:
            piece = pieces[0]
            if len(piece) <= limit:
                taken.append(pieces.popleft())
                limit -= len(piece)
            else:
                taken.append(piece[:limit])
                pieces[0] = piece[limit:]
                limit = 0
        return taken

    def drop(self) -> None:
        """Forget all that is held: nobody will take it any more."""
        self.pieces.clear()
        self._early.clear()
        self.queued = self._early_size = 0

    def _append(self, payload: memoryview) -> None:
        size = len(payload)
        pieces = self.pieces
        if size < SMALL and pieces and len(pieces[-1]) < SMALL:
            pieces[-1] = memoryview(b"".join((pieces[-1], payload)))
        else:
            pieces.append(payload)
        self.queued += size
        self.next += size

    def _keep_early(self, start: int, payload: memoryview) -> None:
        """Hold bytes that came before their turn; only those not held already, so memory stays within the window."""
        end = start + len(payload)
        for begin, stop, _ in self._early:
            if begin <= start < stop:
                payload = payload[stop - start :]
                start = stop
            elif start < begin < end:
                # The rest may be held already; what lies behind the hole comes again when it is asked for.
                payload = payload[: begin - start]
                break
            if start >= end:
                return
        if payload:
            # A copy: a small early piece must not pin the large packet it came in.
            insort(
                self._early,
                (start, start + len(payload), memoryview(bytes(payload))),
                key=lambda item: item[0],
            )
            self._early_size += len(payload)
