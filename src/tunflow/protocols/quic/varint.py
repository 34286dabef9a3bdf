"""QUIC's integers of one to eight bytes (RFC 9000 §16)."""

from __future__ import annotations

from tunflow.errors import BadPacket


def encode(value: int) -> bytes:
    """The shortest form of a number below 2^62."""
    for power, limit in enumerate((1 << 6, 1 << 14, 1 << 30, 1 << 62)):
        if value < limit:
            size = 1 << power
            return (value | power << (8 * size - 2)).to_bytes(size, "big")
    raise ValueError(f"{value} has no form of eight bytes")


def read_untrusted(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """The number at an offset, and the offset behind it. Raises BadPacket where it is not whole."""
    if at >= len(data):
        raise BadPacket("a number is missing")
    size = 1 << (data[at] >> 6)
    end = at + size
    if end > len(data):
        raise BadPacket("a number is not whole")
    return int.from_bytes(data[at:end], "big") & ((1 << (8 * size - 2)) - 1), end
