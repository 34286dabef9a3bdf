"""The sending half of a connection: what waits, what is in flight, and what the peer's window allows.

Sequence numbers are unwrapped (see `receiver`). A segment in flight keeps references to the pieces it carries, so that
sending it again copies nothing. A segment is up to 64 KB: the device cuts it, or nobody has to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from tunflow.endpoint import Buffer
from tunflow.stack.tcp.congestion import NewReno
from tunflow.stack.tcp.rtt import RTT

MAXIMUM_PIECES = 512
"""Well under IOV_MAX (1,024 on Linux), with room for the headers."""

SMALL = 1024
"""Pieces smaller than this are joined with a small neighbour that waits, so that many do not cost much memory."""


class SentSegment:
    """Bytes in flight: `start` to `end` (unwrapped, FIN counted), the pieces, and how often they were sent."""

    __slots__ = ("end", "fin", "pieces", "retransmitted", "sent_at", "start")

    def __init__(self, start: int, end: int, pieces: list[Buffer], fin: bool, sent_at: float) -> None:
        self.start = start
        self.end = end
        self.pieces = pieces
        self.fin = fin
        self.sent_at = sent_at
        self.retransmitted = False


class Sender:
    """Bytes for the client."""

    __slots__ = (
        "_unsent",
        "congestion",
        "fin_queued",
        "fin_sent",
        "flight",
        "largest_segment",
        "limit",
        "mss",
        "next",
        "retransmissions",
        "rtt",
        "una",
        "unsent_size",
        "window",
        "window_ack",
        "window_seq",
    )

    def __init__(self, start: int, mss: int, limit: int, largest_segment: int) -> None:
        self.una = start
        """SND.UNA: the oldest sequence number not acknowledged."""
        self.next = start
        """SND.NXT."""
        self.mss = mss
        self.limit = limit
        self.largest_segment = max(mss, largest_segment // mss * mss)
        self.window = 0
        self.window_seq = 0
        self.window_ack = 0
        self.flight: deque[SentSegment] = deque()
        self.unsent_size = 0
        self.fin_queued = False
        self.fin_sent = False
        self.retransmissions = 0
        self.rtt = RTT()
        self.congestion = NewReno(mss)
        self._unsent: deque[Buffer] = deque()

    def set_mss(self, mss: int, largest_segment: int) -> None:
        """The peer's SYN,ACK said what it takes; nothing has been sent yet."""
        self.mss = mss
        self.largest_segment = max(mss, largest_segment // mss * mss)
        self.congestion = NewReno(mss)

    @property
    def room(self) -> int:
        """How many more bytes the owner may queue: everything not acknowledged counts."""
        return self.limit - self.unsent_size - (self.next - self.una)

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be sent or acknowledged."""
        return not self.flight and not self.unsent_size and not (self.fin_queued and not self.fin_sent)

    def queue(self, pieces: Sequence[Buffer]) -> None:
        """Take bytes to send after those already queued; the pieces must not change afterwards."""
        for piece in pieces:
            size = len(piece)
            if size < SMALL and self._unsent and len(self._unsent[-1]) < SMALL:
                self._unsent[-1] = b"".join((self._unsent[-1], piece))
            elif size:
                self._unsent.append(piece)
            self.unsent_size += size

    def next_segment(self, now: float, more: bool) -> SentSegment | None:
        """Cut the next new segment that both windows allow, and count it as in flight; None when there is none.

        `more`: more bytes come at once, so a segment that is not as large as can be had better wait for them.
        """
        waiting = self.unsent_size
        if not waiting:
            if self.fin_queued and not self.fin_sent:
                return self._launch([], 0, now)
            return None
        usable = self.una + min(self.window, self.congestion.window) - self.next
        size = min(waiting, usable, self.largest_segment)
        if more and size < self.largest_segment:
            return None
        if size < waiting:
            if size <= 0:
                return None
            if size < self.largest_segment:
                # Silly-window avoidance (RFC 9293 §3.8.6.2.1): a part of what waits must be full segments,
                # unless nothing is in flight whose ACK would open the window further.
                if size >= self.mss:
                    size -= size % self.mss
                elif self.flight:
                    return None
        pieces, size = self._cut(size)
        return self._launch(pieces, size, now)

    def acknowledge(self, ack: int, now: float) -> int:
        """Take a cumulative ACK that is known to lie in (una, next]; how many sequence numbers it covers."""
        size = ack - self.una
        self.una = ack
        flight = self.flight
        newest: SentSegment | None = None
        while flight:
            segment = flight[0]
            if segment.end <= ack:
                newest = flight.popleft()
                continue
            if segment.start < ack:
                _trim(segment, ack)
            break
        if newest is not None and not newest.retransmitted:
            self.rtt.sample(now - newest.sent_at)
        return size

    def first_unacknowledged(self, now: float) -> SentSegment | None:
        """The head of the flight, cut to one MSS and marked as sent again."""
        if not self.flight:
            return None
        segment = self.flight[0]
        length = segment.end - segment.start - segment.fin
        if length > self.mss:
            rest = SentSegment(segment.start + self.mss, segment.end, segment.pieces, segment.fin, segment.sent_at)
            rest.retransmitted = segment.retransmitted
            rest.pieces = _slice(segment.pieces, self.mss, length)
            segment.pieces = _slice(segment.pieces, 0, self.mss)
            segment.end = rest.start
            segment.fin = False
            self.flight.insert(1, rest)
        segment.retransmitted = True
        segment.sent_at = now
        self.retransmissions += 1
        return segment

    def drop(self) -> None:
        """Forget everything: the connection is gone."""
        self._unsent.clear()
        self.flight.clear()
        self.unsent_size = 0

    def _launch(self, pieces: list[Buffer], size: int, now: float) -> SentSegment:
        fin = self.fin_queued and not self.unsent_size
        segment = SentSegment(self.next, self.next + size + fin, pieces, fin, now)
        self.next = segment.end
        self.fin_sent = self.fin_sent or fin
        self.flight.append(segment)
        return segment

    def _cut(self, size: int) -> tuple[list[Buffer], int]:
        """Take up to `size` bytes from what waits, in no more pieces than one `writev` takes; how many they are."""
        unsent = self._unsent
        pieces: list[Buffer] = []
        left = size
        while left and len(pieces) < MAXIMUM_PIECES:
            piece = unsent.popleft()
            length = len(piece)
            if length > left:
                view = memoryview(piece)
                pieces.append(view[:left])
                unsent.appendleft(view[left:])
                left = 0
                break
            pieces.append(piece)
            left -= length
        self.unsent_size -= size - left
        return pieces, size - left


def _slice(pieces: Sequence[Buffer], start: int, stop: int) -> list[Buffer]:
    """The bytes from `start` to `stop` of a gather list, as a gather list."""
    result: list[Buffer] = []
    position = 0
    for piece in pieces:
        length = len(piece)
        first, last = max(start - position, 0), min(stop - position, length)
        if first < last:
            result.append(piece if last - first == length else memoryview(piece)[first:last])
        position += length
        if position >= stop:
            break
    return result


def _trim(segment: SentSegment, ack: int) -> None:
    """Cut off the front of a segment that a partial ACK covers."""
    length = segment.end - segment.start - segment.fin
    segment.pieces = _slice(segment.pieces, ack - segment.start, length)
    segment.start = ack
