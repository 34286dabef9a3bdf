"""The timestamps option of one connection (RFC 7323): round trips of what was sent twice, and PAWS.

Made only when both sides offered the option. Our clock ticks in milliseconds (§5.4 allows 1 ms to 1 s) from an offset
that the stack's secret and the connection's addresses give, so that nobody reads our uptime in it and it never goes
back from one connection to the next with the same addresses and ports.
"""

from __future__ import annotations

import struct

from tunflow.stack.tcp.sequence import HALF, MODULUS, Block
from tunflow.wire.tcp import HEADER_SIZE, parse_options

SIZE = 12
"""Bytes that the option adds to every segment, padded (RFC 7323 appendix A)."""

LAYOUT = struct.Struct("!III")
"""NOP NOP TIMESTAMPS 10, TSval, TSecr: what practically everybody sends (RFC 7323 appendix A)."""

MAGIC = 0x0101080A
"""The first four bytes of that layout."""

TICKS = 1000.0

IDLE_LIMIT = 24 * 86400.0
"""RFC 7323 §5.5: after 24 days without a segment TS.Recent says nothing any more."""

LONGEST_TRIP = 120.0
"""Seconds above which an echo is not believed: it is nobody's round trip."""


class Timestamps:
    """Our clock and the peer's last one. `recent` is TS.Recent, `last_ack` Last.ACK.sent (unwrapped)."""

    __slots__ = ("_offset", "_recent_at", "last_ack", "recent")

    def __init__(self, offset: int, recent: int, last_ack: int, now: float) -> None:
        self._offset = offset
        self._recent_at = now
        self.recent = recent
        self.last_ack = last_ack

    def value(self, now: float) -> int:
        """TSval at this time."""
        return (int(now * TICKS) + self._offset) & 0xFFFFFFFF

    def encode(self, now: float) -> bytes:
        """The option for a segment that leaves now."""
        return LAYOUT.pack(MAGIC, (int(now * TICKS) + self._offset) & 0xFFFFFFFF, self.recent)

    def is_old(self, value: int, now: float) -> bool:
        """Return True if a segment with this TSval is a duplicate from the past (PAWS, §5.3 R1)."""
        return (value - self.recent) % MODULUS >= HALF and now - self._recent_at < IDLE_LIMIT

    def take(self, value: int, start: int, now: float) -> None:
        """Remember the TSval of an acceptable segment that begins at `start` (§4.3 (2), §5.3 R3)."""
        if start <= self.last_ack:
            self.recent = value
            self._recent_at = now

    def elapsed(self, echoed: int, now: float) -> float | None:
        """Seconds since we sent what the peer echoes; None when that cannot be."""
        seconds = (self.value(now) - echoed) % MODULUS / TICKS
        return seconds if seconds <= LONGEST_TRIP else None


def is_before(one: int, other: int) -> bool:
    """Return True if a timestamp is older than another (RFC 7323 §5.2)."""
    return (one - other) % MODULUS >= HALF


def read_options(packet: bytes, at: int, payload_at: int) -> tuple[int | None, int, tuple[Block, ...]]:
    """Return TSval (None without the option), TSecr and SACK blocks of the segment whose header is at `at`."""
    if payload_at == at + 32:
        magic, value, echoed = LAYOUT.unpack_from(packet, at + HEADER_SIZE)
        if magic == MAGIC:
            return value, echoed, ()
    options = parse_options(packet[at + HEADER_SIZE : payload_at])
    value, echoed = options.timestamps or (None, 0)
    return value, echoed, options.sack
