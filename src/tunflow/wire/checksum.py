"""The Internet checksum: the 16-bit ones'-complement sum of RFC 1071, as IP, TCP, UDP and ICMP use it.

Rule: a number modulo 65535 *is* the ones'-complement sum of its 16-bit digits, because 2^16 = 1 (mod 65535).
So one big integer division in C stands for a loop over words in Python. A sum is kept not inverted and folded
to 0..65535 until it goes into a packet.

Read first: RFC 1071 (the sum), RFC 9293 §3.1 and RFC 8200 §8.1 (the pseudo-headers), RFC 768 (zero means
"none").
"""

from __future__ import annotations

from collections.abc import Iterable

from tunflow.endpoint import Buffer


def fold(total: int) -> int:
    """A non-negative sum of 16-bit words, or of folded sums, as one 16-bit word."""
    # Only a sum of nothing but zeros is 0: in ones' complement every other multiple of 65535 is written
    # 0xffff.
    return total % 65535 or (65535 if total else 0)


def raw_sum(data: Buffer) -> int:
    """The folded sum, not inverted, of the big-endian words of `data`; a zero follows an odd last byte."""
    total = int.from_bytes(data, "big")
    if len(data) & 1:
        return fold(fold(total) << 8)  # shift the small sum, not the big number
    return total % 65535 or (65535 if total else 0)


def sum_pieces(pieces: Iterable[Buffer]) -> int:
    """The folded sum of the pieces as if they were joined."""
    total = 0
    odd = False
    for piece in pieces:
        part = raw_sum(piece)
        total += part << 8 if odd else part  # RFC 1071 §2 (B): a sum shifted by a byte is the sum with swapped bytes
        odd ^= bool(len(piece) & 1)
    return fold(total)


def checksum(data: Buffer) -> int:
    """What goes into the zeroed checksum field of `data`; 0 when `data` already holds the right checksum."""
    return 0xFFFF ^ raw_sum(data)


def pseudo_sum(src: bytes, dst: bytes, protocol: int, length: int) -> int:
    """The folded sum of the pseudo-header of either family: packed addresses, protocol, segment length."""
    return fold(int.from_bytes(src, "big") + int.from_bytes(dst, "big") + protocol + length)


def transport_checksum(src: bytes, dst: bytes, protocol: int, segment: Buffer) -> int:
    """What goes into the zeroed checksum field of a TCP, UDP or ICMPv6 segment; 0 when it is right already.

    A UDP sender writes 0xffff in place of 0 (RFC 768).
    """
    return 0xFFFF ^ fold(pseudo_sum(src, dst, protocol, len(segment)) + raw_sum(segment))
