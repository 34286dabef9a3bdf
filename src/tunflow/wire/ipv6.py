"""The IPv6 header and the walk over its extension headers.

Read first: RFC 8200 §3 and §4; RFC 8504 §5.3 (a host may limit how many it follows); RFC 7112 (the first
fragment holds the whole chain); RFC 5095 (routing type 0 is gone).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket
from tunflow.wire import protocols

HEADER = struct.Struct("!IHBB16s16s")
"""version, traffic class and flow label; payload length, next header, hop limit, source, destination."""

HEADER_SIZE = HEADER.size
FRAGMENT_HEADER = struct.Struct("!BBHI")
"""next header, reserved, offset with the more-fragments bit, identification (RFC 8200 §4.5)."""

MIN_MTU = 1280
"""RFC 8200 §5: what every link must carry."""
MAX_PAYLOAD = 0xFFFF
MAX_EXTENSIONS = 8
"""RFC 8504 §5.3 lets a host limit the chain; RFC 8200 §4.1 foresees at most one of each of seven kinds."""

_MORE_FRAGMENTS = 1
_OFFSET_MASK = 0xFFF8
_PAD1 = 0
_SKIP_IF_UNKNOWN = 0
"""RFC 8200 §4.2: the upper two bits of an option type that is skipped when unknown; the other values
discard."""


class IPv6Header(NamedTuple):
    """A fixed header that lies in its packet."""

    src: bytes
    dst: bytes
    next_header: int
    hop_limit: int
    traffic_class: int
    """DSCP and ECN (RFC 2474, RFC 3168)."""
    flow_label: int
    payload_length: int
    """In bytes, extension headers included."""

    @property
    def total_length(self) -> int:
        """In bytes, header and payload: where the packet ends. Link padding may follow."""
        return HEADER_SIZE + self.payload_length


class Fragment(NamedTuple):
    """What a fragment header says, and where it stands: what reassembly needs."""

    offset: int
    """Of this fragment's data in the whole, in bytes."""
    more: bool
    identification: int
    next_header: int
    """What the fragmented data starts with."""
    header_at: int
    """Where the fragment header starts in the packet; the data of the fragment is 8 bytes further."""
    named_at: int
    """Where the next-header byte stands that names the fragment header."""


class Extensions(NamedTuple):
    """Where the walk ended."""

    next_header: int
    """The upper-layer protocol; or AH, ESP, no-next-header or an unknown number, none of which is walked
    over."""
    offset: int
    """Where that protocol's header starts in the packet."""
    fragment: Fragment | None
    """The fragment header that was passed, if any. With an offset of its own, the walk ended behind it."""
    named_at: int
    """Where the byte stands that names the upper-layer protocol."""


def parse_untrusted(packet: Buffer) -> IPv6Header:
    """The fixed header of a plain packet. Raises BadPacket."""
    size = len(packet)
    if size < HEADER_SIZE:
        raise BadPacket(f"IPv6 packet of {size} bytes")
    first, payload_length, next_header, hop_limit, src, dst = HEADER.unpack_from(packet)
    if first >> 28 != 6:
        raise BadPacket(f"IP version {first >> 28}, expected 6")
    if HEADER_SIZE + payload_length > size:
        raise BadPacket(f"IPv6 payload of {payload_length} bytes in a packet of {size}")
    return IPv6Header(src, dst, next_header, hop_limit, first >> 20 & 0xFF, first & 0xFFFFF, payload_length)


def walk_extensions_untrusted(packet: Buffer) -> Extensions:
    """Walk from the fixed header to the upper layer's. Raises BadPacket.

    Hop-by-hop options, destination options, routing headers with nothing left to visit and fragment headers
    are walked over. The walk ends at anything else: an upper-layer protocol, an unknown number, AH and ESP
    (whose contents are not ours to read), no-next-header; and behind the fragment header of any fragment but
    the first, since what follows there is data. A packet that RFC 8200 has its receiver discard is a
    BadPacket.
    """
    header = parse_untrusted(packet)
    end = header.total_length
    kind = header.next_header
    named_at = 6
    at = HEADER_SIZE
    fragment: Fragment | None = None
    for _ in range(MAX_EXTENSIONS + 1):
        if kind == protocols.FRAGMENT:
            if fragment is not None:
                raise BadPacket("IPv6 packet with two fragment headers")
            fragment = _fragment(packet, at, named_at, end)
            kind, named_at, at = fragment.next_header, at, at + FRAGMENT_HEADER.size
            if fragment.offset:
                return Extensions(kind, at, fragment, named_at)
            continue
        if kind not in _WALKED:
            return Extensions(kind, at, fragment, named_at)
        if kind == protocols.HOP_BY_HOP and at != HEADER_SIZE:
            raise BadPacket("IPv6 hop-by-hop options are not the first extension header")  # RFC 8200 §4.1
        if at + 8 > end:
            raise BadPacket("IPv6 extension header is cut off")
        length = (packet[at + 1] + 1) * 8
        if at + length > end:
            raise BadPacket(f"IPv6 extension header of {length} bytes is cut off")
        if kind == protocols.ROUTING:
            if packet[at + 3]:  # RFC 8200 §4.4: of an unknown type, only one with no segments left is ignored
                raise BadPacket(f"IPv6 routing header of type {packet[at + 2]} with segments left")
        else:
            _check_options(packet, at + 2, at + length)
        kind, named_at, at = packet[at], at, at + length
    raise BadPacket(f"IPv6 packet with more than {MAX_EXTENSIONS} extension headers")


_WALKED = frozenset((protocols.HOP_BY_HOP, protocols.ROUTING, protocols.DESTINATION_OPTIONS))


def _fragment(packet: Buffer, at: int, named_at: int, end: int) -> Fragment:
    """The fragment header at `at`, checked as RFC 8200 §4.5 has it."""
    data_at = at + FRAGMENT_HEADER.size
    if data_at > end:
        raise BadPacket("IPv6 fragment header is cut off")
    next_header, _, word, identification = FRAGMENT_HEADER.unpack_from(packet, at)
    offset = word & _OFFSET_MASK
    more = bool(word & _MORE_FRAGMENTS)
    if more and (end - data_at) % 8:
        raise BadPacket("IPv6 fragment is not a multiple of 8 bytes")
    if offset + end - HEADER_SIZE > MAX_PAYLOAD + FRAGMENT_HEADER.size:
        raise BadPacket("IPv6 fragment ends beyond the largest packet")
    return Fragment(offset, more, identification, next_header, at, named_at)


def _check_options(packet: Buffer, at: int, end: int) -> None:
    """Walk the options of a hop-by-hop or destination options header (RFC 8200 §4.2)."""
    while at < end:
        kind = packet[at]
        if kind == _PAD1:
            at += 1
            continue
        if at + 2 > end or at + 2 + packet[at + 1] > end:
            raise BadPacket("IPv6 option is cut off")
        if kind >> 6 != _SKIP_IF_UNKNOWN:
            raise BadPacket(f"IPv6 option {kind} is unknown and asks for the packet to be discarded")
        at += 2 + packet[at + 1]


def build(
    src: bytes,
    dst: bytes,
    next_header: int,
    payload_length: int,
    *,
    hop_limit: int = 64,
    traffic_class: int = 0,
    flow_label: int = 0,
) -> bytes:
    """A 40-byte fixed header."""
    first = 6 << 28 | traffic_class << 20 | flow_label
    return HEADER.pack(first, payload_length, next_header, hop_limit, src, dst)
