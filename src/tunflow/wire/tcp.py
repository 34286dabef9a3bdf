"""The TCP header and its options.

Read first: RFC 9293 §3.1 and §3.2 (header, options, MSS), RFC 7323 (window scale, timestamps), RFC 2018
(SACK), RFC 3168 §6.1 (ECE, CWR).
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import NamedTuple

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket

HEADER = struct.Struct("!HHIIBBHHH")
"""source port, destination port, sequence, acknowledgement, data offset, flags, window, checksum, urgent."""

HEADER_SIZE = HEADER.size
MAX_OPTIONS = 40
"""RFC 9293 §3.1: the data offset counts 15 words at most, five of them the fixed header."""
CHECKSUM_OFFSET = 16

FIN = 0x01
SYN = 0x02
RST = 0x04
PSH = 0x08
ACK = 0x10
URG = 0x20
ECE = 0x40
CWR = 0x80

END_OF_OPTIONS = 0
NO_OPERATION = 1
MSS = 2
WINDOW_SCALE = 3
SACK_PERMITTED = 4
SACK = 5
TIMESTAMPS = 8

MAX_WINDOW_SCALE = 14
"""RFC 7323 §2.3: a larger shift MUST be used as 14."""

_LONE_TIMESTAMPS = bytes((NO_OPERATION, NO_OPERATION, TIMESTAMPS, 10))
_MSS_HEAD = bytes((MSS, 4))
_SACK_AND_TIMESTAMPS = bytes((SACK_PERMITTED, 2, TIMESTAMPS, 10))
_LINUX_SYN = struct.Struct("!HHIIIHBB")
_LINUX_SYN_HEADS = (0x0204, 0x0402080A, 0x0103, 3)
"""What every SYN of Linux carries: MSS, SACK-permitted, timestamps, and behind a no-operation the window scale."""
_U16 = struct.Struct("!H")
_PAIR = struct.Struct("!II")


class Options(NamedTuple):
    """What a segment's options say; anything unknown is left out (RFC 9293 §3.2, MUST-6)."""

    mss: int | None = None
    window_scale: int | None = None
    """The shift, 0..14."""
    sack_permitted: bool = False
    sack: tuple[tuple[int, int], ...] = ()
    """Left and right edges of the blocks, in the order of the segment (RFC 2018 §3)."""
    timestamps: tuple[int, int] | None = None
    """TSval and TSecr."""


NO_OPTIONS = Options()


class TCPHeader(NamedTuple):
    """A header that lies in its segment; the checksum is for the caller, who knows the pseudo-header."""

    source_port: int
    destination_port: int
    sequence: int
    acknowledgement: int
    header_length: int
    """In bytes, with options: where the payload starts."""
    flags: int
    window: int
    """As it stands in the segment, not scaled."""
    checksum: int
    urgent_pointer: int
    options: Options


def parse_untrusted(segment: Buffer) -> TCPHeader:
    """The header of a segment. Raises BadPacket."""
    if len(segment) < HEADER_SIZE:
        raise BadPacket(f"TCP segment of {len(segment)} bytes")
    source, destination, sequence, acknowledgement, offset, flags, window, checksum, urgent = HEADER.unpack_from(
        segment
    )
    header_length = (offset >> 4) * 4
    if not HEADER_SIZE <= header_length <= len(segment):
        raise BadPacket(f"TCP header of {header_length} bytes in a segment of {len(segment)}")
    options = parse_options(segment[HEADER_SIZE:header_length])
    return TCPHeader(
        source,
        destination,
        sequence,
        acknowledgement,
        header_length,
        flags,
        window,
        checksum,
        urgent,
        options,
    )


def parse_options(data: Buffer) -> Options:
    """The options between fixed header and payload. Never raises.

    An option with an illegal length ends the walk, since nothing says where the next begins; what was legal
    before it is kept. Of an option that is repeated the last one counts.
    """
    if len(data) == 12 and data[:4] == _LONE_TIMESTAMPS:  # RFC 7323 appendix A: nearly every segment looks like this
        return Options(None, None, False, (), _PAIR.unpack_from(data, 4))
    if len(data) == _LINUX_SYN.size:
        mss_head, size, sack_head, value, echoed, scale_head, scale_size, shift = _LINUX_SYN.unpack(data)
        if (mss_head, sack_head, scale_head, scale_size) == _LINUX_SYN_HEADS and size:
            return Options(size, min(shift, MAX_WINDOW_SCALE), True, (), (value, echoed))
    mss: int | None = None
    window_scale: int | None = None
    sack_permitted = False
    sack: tuple[tuple[int, int], ...] = ()
    timestamps: tuple[int, int] | None = None
    at = 0
    end = len(data)
    while at < end:
        kind = data[at]
        if kind == END_OF_OPTIONS:
            break
        if kind == NO_OPERATION:
            at += 1
            continue
        if at + 1 >= end:
            break
        length = data[at + 1]
        if length < 2 or at + length > end or length not in _LENGTHS.get(kind, (length,)):
            break
        if kind == MSS:
            # A zero would leave no room for data; like Linux, take it as not said (RFC 9293 §3.7.1 then gives
            # a default).
            mss = _U16.unpack_from(data, at + 2)[0] or None
        elif kind == WINDOW_SCALE:
            window_scale = min(data[at + 2], MAX_WINDOW_SCALE)
        elif kind == SACK_PERMITTED:
            sack_permitted = True
        elif kind == SACK:
            sack = tuple(_PAIR.unpack_from(data, block) for block in range(at + 2, at + length, 8))
        elif kind == TIMESTAMPS:
            timestamps = _PAIR.unpack_from(data, at + 2)
        at += length
    return Options(mss, window_scale, sack_permitted, sack, timestamps)


def parse_lasting_options(data: bytes) -> Options:
    """The options of a SYN without timestamps, which are all that differs from one to the next. Never raises."""
    if data[4:8] == _SACK_AND_TIMESTAMPS and data[:2] == _MSS_HEAD:
        data = data[:6] + data[16:]
    return _lasting_options(data)


@lru_cache(64)
def _lasting_options(data: bytes) -> Options:
    return parse_options(data)._replace(timestamps=None)


_LENGTHS: dict[int, tuple[int, ...]] = {
    MSS: (4,),
    WINDOW_SCALE: (3,),
    SACK_PERMITTED: (2,),
    SACK: (10, 18, 26, 34),
    TIMESTAMPS: (10,),
}
"""The legal values of each known option's length byte."""


def build_options(options: Options) -> bytes:
    """The options as they stand in a segment: a multiple of 4 bytes, never over 40.

    SACK blocks that do not fit beside the others are left out, the last first: RFC 2018 §3 puts the most
    recent in front.
    """
    parts: list[bytes] = []
    if options.mss is not None:
        parts.append(struct.pack("!BBH", MSS, 4, options.mss))
    if options.sack_permitted:
        parts.append(bytes((NO_OPERATION, NO_OPERATION, SACK_PERMITTED, 2)))
    if options.timestamps is not None:
        parts.append(_LONE_TIMESTAMPS + _PAIR.pack(*options.timestamps))
    if options.window_scale is not None:
        parts.append(bytes((NO_OPERATION, WINDOW_SCALE, 3, options.window_scale)))
    if options.sack:
        room = (MAX_OPTIONS - sum(map(len, parts)) - 4) // 8
        blocks = options.sack[:room]
        if blocks:
            parts.append(bytes((NO_OPERATION, NO_OPERATION, SACK, 2 + 8 * len(blocks))))
            parts.extend(_PAIR.pack(left, right) for left, right in blocks)
    return b"".join(parts)


def build(
    source_port: int,
    destination_port: int,
    sequence: int,
    acknowledgement: int,
    flags: int,
    window: int = 0,
    *,
    options: Options = NO_OPTIONS,
    checksum: int = 0,
    urgent_pointer: int = 0,
) -> bytes:
    """A header with its options; `checksum` goes into the field as it is."""
    tail = build_options(options)
    offset = (HEADER_SIZE + len(tail)) << 2  # in 4-byte words, in the upper four bits
    return (
        HEADER.pack(
            source_port,
            destination_port,
            sequence,
            acknowledgement,
            offset,
            flags,
            window,
            checksum,
            urgent_pointer,
        )
        + tail
    )
