"""The IPv4 header.

Options are walked and otherwise ignored; a packet that brings its own route is refused.

Read first: RFC 791 §3.1; RFC 6864 (the identification field is free in atomic packets); RFC 1191 (don't
fragment); RFC 7126 (what to do with each option).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket
from tunflow.wire.checksum import raw_sum

HEADER = struct.Struct("!BBHHHBBH4s4s")
"""version and IHL, type of service, total length, identification, flags and fragment offset, TTL, protocol,
header checksum, source, destination."""

HEADER_SIZE = HEADER.size
MAX_PACKET = 0xFFFF
"""RFC 791: total length is 16 bits."""
MIN_MTU = 68
"""RFC 791 §3.2: what every link must carry unfragmented."""
MAX_TTL = 255

DONT_FRAGMENT = 0x4000
MORE_FRAGMENTS = 0x2000
OFFSET_MASK = 0x1FFF

_END_OF_OPTIONS = 0
_NO_OPERATION = 1
_SOURCE_ROUTES = frozenset((131, 137))
"""Loose and strict source and record route, to be dropped: RFC 7126 §4.3.5 and §4.4.5."""


class IPv4Header(NamedTuple):
    """A header that was checked: it lies in the packet, and its checksum is right."""

    src: bytes
    dst: bytes
    protocol: int
    ttl: int
    identification: int
    dont_fragment: bool
    more_fragments: bool
    fragment_offset: int
    """In bytes."""
    type_of_service: int
    """DSCP and ECN (RFC 2474, RFC 3168)."""
    header_length: int
    """In bytes, with options: where the payload starts."""
    total_length: int
    """In bytes, header and payload: where the packet ends. Link padding may follow."""

    @property
    def is_fragment(self) -> bool:
        """True if the packet is a part of a datagram."""
        return self.more_fragments or self.fragment_offset > 0


def parse_untrusted(packet: Buffer) -> IPv4Header:
    """The header of a plain packet. Raises BadPacket."""
    size = len(packet)
    if size < HEADER_SIZE:
        raise BadPacket(f"IPv4 packet of {size} bytes")
    version_ihl, tos, total_length, identification, fragment, ttl, protocol, _, src, dst = HEADER.unpack_from(packet)
    if version_ihl >> 4 != 4:
        raise BadPacket(f"IP version {version_ihl >> 4}, expected 4")
    header_length = (version_ihl & 15) * 4
    if not HEADER_SIZE <= header_length <= total_length <= size:
        raise BadPacket(f"IPv4 lengths: header {header_length}, total {total_length}, received {size}")
    if raw_sum(packet[:header_length]) != 0xFFFF:
        raise BadPacket("IPv4 header checksum is wrong")
    if header_length > HEADER_SIZE:
        _check_options(packet, header_length)
    offset = (fragment & OFFSET_MASK) * 8
    if offset + total_length - header_length > MAX_PACKET - HEADER_SIZE:
        raise BadPacket("IPv4 fragment ends beyond the largest datagram")
    return IPv4Header(
        src,
        dst,
        protocol,
        ttl,
        identification,
        bool(fragment & DONT_FRAGMENT),
        bool(fragment & MORE_FRAGMENTS),
        offset,
        tos,
        header_length,
        total_length,
    )


def _check_options(packet: Buffer, end: int) -> None:
    """Walk the options (RFC 791 §3.1), which end with the header or with an option that says so."""
    at = HEADER_SIZE
    while at < end:
        kind = packet[at]
        if kind == _END_OF_OPTIONS:
            return
        if kind == _NO_OPERATION:
            at += 1
            continue
        if kind in _SOURCE_ROUTES:
            raise BadPacket("IPv4 packet with a source route")
        if at + 2 > end or packet[at + 1] < 2 or at + packet[at + 1] > end:
            raise BadPacket(f"IPv4 option {kind} is cut off")
        at += packet[at + 1]


def build(
    src: bytes,
    dst: bytes,
    protocol: int,
    payload_length: int,
    *,
    ttl: int = 64,
    identification: int = 0,
    dont_fragment: bool = True,
    type_of_service: int = 0,
) -> bytes:
    """A 20-byte header of an unfragmented packet, checksum included.

    `ttl` is 64 by default (RFC 1122 §3.2.1.7 with the number that the IANA registry recommends).
    """
    total_length = HEADER_SIZE + payload_length
    flags = DONT_FRAGMENT if dont_fragment else 0
    words = (0x4500 | type_of_service) + total_length + identification + flags + (ttl << 8 | protocol)
    total = words + int.from_bytes(src, "big") + int.from_bytes(dst, "big")
    return HEADER.pack(
        0x45,
        type_of_service,
        total_length,
        identification,
        flags,
        ttl,
        protocol,
        0xFFFF ^ (total % 65535 or 65535),  # `fold`, for a sum that is never of zeros only
        src,
        dst,
    )
