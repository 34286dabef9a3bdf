"""ICMP and ICMPv6 messages: echo and the errors.

One set of values serves both families; `build_v4` and `build_v6` write them in either's numbers. Where the
families differ in more than numbers (the codes of destination unreachable) each has its own names.

Read first: RFC 792, RFC 1191 §4 (next-hop MTU), RFC 1812 §4.3.2 (how much is quoted); RFC 4443.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket
from tunflow.wire.checksum import checksum, transport_checksum
from tunflow.wire.protocols import ICMPV6

HEADER = struct.Struct("!BBHI")
"""type, code, checksum, and four bytes whose meaning depends on the type."""

HEADER_SIZE = HEADER.size
MAX_QUOTE_V4 = 576 - 20 - HEADER_SIZE
"""RFC 1812 §4.3.2.3: as much of the offending packet as fits in an ICMP datagram of 576 bytes."""
MAX_QUOTE_V6 = 1280 - 40 - HEADER_SIZE
"""RFC 4443 §2.4 (c): as much of the offending packet as fits in the minimum IPv6 MTU."""


class TypeV4(IntEnum):
    """RFC 792 message types."""

    ECHO_REPLY = 0
    DESTINATION_UNREACHABLE = 3
    ECHO_REQUEST = 8
    TIME_EXCEEDED = 11
    PARAMETER_PROBLEM = 12


class TypeV6(IntEnum):
    """RFC 4443 message types."""

    DESTINATION_UNREACHABLE = 1
    PACKET_TOO_BIG = 2
    TIME_EXCEEDED = 3
    PARAMETER_PROBLEM = 4
    ECHO_REQUEST = 128
    ECHO_REPLY = 129


class UnreachableV4(IntEnum):
    """Codes of ICMP destination unreachable (RFC 792, RFC 1122 §3.2.2.1, RFC 1812 §5.2.7.1)."""

    NETWORK = 0
    HOST = 1
    PROTOCOL = 2
    PORT = 3
    FRAGMENTATION_NEEDED = 4
    HOST_PROHIBITED = 10
    COMMUNICATION_PROHIBITED = 13


class UnreachableV6(IntEnum):
    """Codes of ICMPv6 destination unreachable (RFC 4443 §3.1)."""

    NO_ROUTE = 0
    COMMUNICATION_PROHIBITED = 1
    ADDRESS = 3
    PORT = 4


class Echo(NamedTuple):
    """An echo request or its reply."""

    is_request: bool
    identifier: int
    sequence: int
    payload: Buffer


class Unreachable(NamedTuple):
    """Destination unreachable, for any reason but the packet's size."""

    code: int
    """`UnreachableV4` or `UnreachableV6`, or a code that neither names."""
    quote: Buffer
    """The start of the packet that could not be delivered."""


class PacketTooBig(NamedTuple):
    """The packet does not fit the next hop: RFC 4443 §3.2, or in IPv4 "fragmentation needed" (RFC 1191)."""

    mtu: int
    """In bytes; 0 from an IPv4 router that does not know RFC 1191."""
    quote: Buffer


class TimeExceeded(NamedTuple):
    """The hop limit ran out (code 0) or reassembly took too long (code 1)."""

    code: int
    quote: Buffer


class ParameterProblem(NamedTuple):
    """Something in the packet's headers makes no sense (RFC 792, RFC 4443 §3.4). It is sent, and read as `Other`."""

    code: int
    """In IPv6 1 for a next header that nobody knows (`UNRECOGNIZED_NEXT_HEADER`)."""
    pointer: int
    """Where in the packet, in bytes."""
    quote: Buffer


class Other(NamedTuple):
    """A message that tunflow only passes by."""

    type: int
    code: int
    rest: int
    """The four bytes behind the checksum."""
    body: Buffer


_Head = tuple[int, int, int]
"""Type, code and the four bytes behind the checksum."""

UNRECOGNIZED_NEXT_HEADER = 1
"""RFC 4443 §3.4: the code of that parameter problem."""

Error = Unreachable | PacketTooBig | TimeExceeded | ParameterProblem
Message = Echo | Error | Other


def parse_v4_untrusted(data: Buffer) -> Message:
    """The ICMP message in an IPv4 packet's payload. Raises BadPacket."""
    kind, code, rest, body = _open(data, checksum(data))
    if kind in (TypeV4.ECHO_REQUEST, TypeV4.ECHO_REPLY) and code == 0:
        return Echo(kind == TypeV4.ECHO_REQUEST, rest >> 16, rest & 0xFFFF, body)
    error = error_v4(kind, code, rest & 0xFFFF)
    return Other(kind, code, rest, body) if error is None else error._replace(quote=body)


def parse_v6_untrusted(src: bytes, dst: bytes, data: Buffer) -> Message:
    """The ICMPv6 message in an IPv6 packet's payload. Raises BadPacket."""
    kind, code, rest, body = _open(data, transport_checksum(src, dst, ICMPV6, data))
    if kind in (TypeV6.ECHO_REQUEST, TypeV6.ECHO_REPLY) and code == 0:
        return Echo(kind == TypeV6.ECHO_REQUEST, rest >> 16, rest & 0xFFFF, body)
    error = error_v6(kind, code, rest)
    return Other(kind, code, rest, body) if error is None else error._replace(quote=body)


def error_v4(kind: int, code: int, mtu: int) -> Error | None:
    """The ICMP error of this type and code, with nothing quoted yet; None if it is not about a lost packet."""
    if kind == TypeV4.DESTINATION_UNREACHABLE:
        return PacketTooBig(mtu, b"") if code == UnreachableV4.FRAGMENTATION_NEEDED else Unreachable(code, b"")
    return TimeExceeded(code, b"") if kind == TypeV4.TIME_EXCEEDED else None


def error_v6(kind: int, code: int, mtu: int) -> Error | None:
    """The ICMPv6 error of this type and code, with nothing quoted yet; None if it is not about a lost packet."""
    if kind == TypeV6.DESTINATION_UNREACHABLE:
        return Unreachable(code, b"")
    if kind == TypeV6.PACKET_TOO_BIG:
        return PacketTooBig(mtu, b"")
    return TimeExceeded(code, b"") if kind == TypeV6.TIME_EXCEEDED else None


def _open(data: Buffer, remainder: int) -> tuple[int, int, int, memoryview]:
    """Type, code, the four bytes behind the checksum, and the body."""
    if len(data) < HEADER_SIZE:
        raise BadPacket(f"ICMP message of {len(data)} bytes")
    if remainder:
        raise BadPacket("ICMP checksum is wrong")
    kind, code, _, rest = HEADER.unpack_from(data)
    return kind, code, rest, memoryview(data)[HEADER_SIZE:]


def build_v4(message: Message) -> bytes:
    """The payload of an IPv4 packet; a quote is cut to what RFC 1812 allows."""
    head: _Head
    body: Buffer
    match message:
        case Echo(is_request, identifier, sequence, payload):
            kind = TypeV4.ECHO_REQUEST if is_request else TypeV4.ECHO_REPLY
            head, body = (kind, 0, identifier << 16 | sequence), payload
        case Unreachable(code, quote):
            head, body = (TypeV4.DESTINATION_UNREACHABLE, code, 0), quote[:MAX_QUOTE_V4]
        case PacketTooBig(mtu, quote):
            head = (TypeV4.DESTINATION_UNREACHABLE, UnreachableV4.FRAGMENTATION_NEEDED, mtu)
            body = quote[:MAX_QUOTE_V4]
        case TimeExceeded(code, quote):
            head, body = (TypeV4.TIME_EXCEEDED, code, 0), quote[:MAX_QUOTE_V4]
        case ParameterProblem(code, pointer, quote):
            head, body = (TypeV4.PARAMETER_PROBLEM, code, pointer << 24), quote[:MAX_QUOTE_V4]
        case Other(other, code, rest, payload):
            head, body = (other, code, rest), payload
    return _join(head, checksum(_join(head, 0, body)), body)


def build_v6(src: bytes, dst: bytes, message: Message) -> bytes:
    """The payload of an IPv6 packet between these addresses; a quote is cut to what RFC 4443 allows."""
    head: _Head
    body: Buffer
    match message:
        case Echo(is_request, identifier, sequence, payload):
            kind = TypeV6.ECHO_REQUEST if is_request else TypeV6.ECHO_REPLY
            head, body = (kind, 0, identifier << 16 | sequence), payload
        case Unreachable(code, quote):
            head, body = (TypeV6.DESTINATION_UNREACHABLE, code, 0), quote[:MAX_QUOTE_V6]
        case PacketTooBig(mtu, quote):
            head, body = (TypeV6.PACKET_TOO_BIG, 0, mtu), quote[:MAX_QUOTE_V6]
        case TimeExceeded(code, quote):
            head, body = (TypeV6.TIME_EXCEEDED, code, 0), quote[:MAX_QUOTE_V6]
        case ParameterProblem(code, pointer, quote):
            head, body = (TypeV6.PARAMETER_PROBLEM, code, pointer), quote[:MAX_QUOTE_V6]
        case Other(other, code, rest, payload):
            head, body = (other, code, rest), payload
    return _join(head, transport_checksum(src, dst, ICMPV6, _join(head, 0, body)), body)


def _join(head: _Head, total: int, body: Buffer) -> bytes:
    return HEADER.pack(head[0], head[1], total, head[2]) + body
