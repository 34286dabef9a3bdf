"""What was sent and is not acknowledged: segments of up to 64 KB that keep references to the pieces they carry, so that
sending them again copies nothing. They are split where a part of them is to be told apart."""

from __future__ import annotations

from collections.abc import Sequence

from tunflow.endpoint import Buffer
from tunflow.wire.tcp import FIN


class SentSegment:
    """Bytes in flight: `start` to `end` (unwrapped, FIN counted), their pieces, and what became of them.

    `size` is that of the pieces, in bytes; `flags` are what the header says: ACK, FIN, and PSH where nothing waits
    behind it.
    """

    __slots__ = ("end", "flags", "lost", "pieces", "retransmitted", "sacked", "sent_at", "size", "start")

    def __init__(self, start: int, end: int, size: int, pieces: list[Buffer], flags: int, sent_at: float) -> None:
        self.start = start
        self.end = end
        self.size = size
        self.pieces = pieces
        self.flags = flags
        self.sent_at = sent_at
        self.retransmitted = False
        self.sacked = False
        self.lost = False
        """True if it is to be sent again."""


def split(flight: list[SentSegment], index: int, size: int) -> None:
    """Make two segments of the one at `index`: its first `size` bytes, and the rest behind it."""
    segment = flight[index]
    pieces = slice_pieces(segment.pieces, size, segment.size)
    rest = SentSegment(segment.start + size, segment.end, segment.size - size, pieces, segment.flags, segment.sent_at)
    rest.retransmitted = segment.retransmitted
    rest.sacked = segment.sacked
    rest.lost = segment.lost
    segment.pieces = slice_pieces(segment.pieces, 0, size)
    segment.size = size
    segment.end = rest.start
    segment.flags &= ~FIN
    flight.insert(index + 1, rest)


def trim(segment: SentSegment, ack: int) -> None:
    """Cut off the front of a segment that a partial ACK covers."""
    covered = ack - segment.start
    segment.pieces = slice_pieces(segment.pieces, covered, segment.size)
    segment.size -= covered
    segment.start = ack


def slice_pieces(pieces: Sequence[Buffer], start: int, stop: int) -> list[Buffer]:
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
