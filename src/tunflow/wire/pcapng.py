"""Blocks of a pcapng capture file.

Written little-endian, with one section and one interface whose packets start at the IP header and whose times
are in nanoseconds.

Read first: draft-ietf-opsawg-pcapng §3.1 (block), §3.5 (options), §4.1 (section header), §4.2 (interface
description), §4.3 (enhanced packet).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from tunflow.endpoint import Buffer

LINKTYPE_RAW = 101
"""https://www.tcpdump.org/linktypes.html: the packet starts with an IPv4 or IPv6 header."""
SNAPLEN = 262144
"""More than any packet here has."""

INBOUND = 1
OUTBOUND = 2
"""§4.3.1 epb_flags, bits 0-1."""

_SECTION_HEADER = 0x0A0D0D0A
_INTERFACE_DESCRIPTION = 1
_ENHANCED_PACKET = 6

_BYTE_ORDER_MAGIC = 0x1A2B3C4D
_VERSION = (1, 0)
_LENGTH_UNKNOWN = -1

_END_OF_OPTIONS = 0
_SHB_USERAPPL = 4
_IF_NAME = 2
_IF_TSRESOL = 9
_EPB_FLAGS = 2

_NANOSECONDS = b"\x09"
"""§4.2 if_tsresol: ten to the power of minus nine."""


def section_header(application: str) -> bytes:
    """The block that a file starts with."""
    body = struct.pack("<IHHq", _BYTE_ORDER_MAGIC, *_VERSION, _LENGTH_UNKNOWN)
    return _block(_SECTION_HEADER, body + _option(_SHB_USERAPPL, application.encode()) + _option(_END_OF_OPTIONS))


def interface_description(name: str) -> bytes:
    """The block that packet blocks refer to as interface 0."""
    options = _option(_IF_NAME, name.encode()) + _option(_IF_TSRESOL, _NANOSECONDS) + _option(_END_OF_OPTIONS)
    return _block(_INTERFACE_DESCRIPTION, struct.pack("<HHI", LINKTYPE_RAW, 0, SNAPLEN) + options)


def enhanced_packet(pieces: Sequence[Buffer], timestamp: int, direction: int) -> bytes:
    """A packet on interface 0: a gather list, nanoseconds since 1970 and INBOUND or OUTBOUND."""
    packet = b"".join(pieces)
    fixed = struct.pack("<IIIII", 0, timestamp >> 32, timestamp & 0xFFFFFFFF, len(packet), len(packet))
    options = _option(_EPB_FLAGS, struct.pack("<I", direction)) + _option(_END_OF_OPTIONS)
    return _block(_ENHANCED_PACKET, fixed + _padded(packet) + options)


def _block(kind: int, body: bytes) -> bytes:
    length = len(body) + 12  # §3.1: the length counts type and both length fields
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)


def _option(code: int, value: bytes = b"") -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
