"""The UDP header.

Read first: RFC 768; RFC 8200 §8.1 (no zero checksum in IPv6).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket

HEADER = struct.Struct("!HHHH")
"""source port, destination port, length, checksum."""

HEADER_SIZE = HEADER.size
CHECKSUM_OFFSET = 6


class UDPHeader(NamedTuple):
    """A header that lies in its datagram; the checksum is for the caller, who knows the pseudo-header."""

    source_port: int
    destination_port: int
    length: int
    """In bytes, header and payload: where the datagram ends."""
    checksum: int
    """0 means that the sender made none."""


def parse_untrusted(datagram: Buffer) -> UDPHeader:
    """The header of a datagram. Raises BadPacket."""
    if len(datagram) < HEADER_SIZE:
        raise BadPacket(f"UDP datagram of {len(datagram)} bytes")
    header = UDPHeader(*HEADER.unpack_from(datagram))
    if not HEADER_SIZE <= header.length <= len(datagram):
        raise BadPacket(f"UDP length {header.length} in a datagram of {len(datagram)} bytes")
    return header


def build(source_port: int, destination_port: int, payload_length: int, *, checksum: int = 0) -> bytes:
    """A header; `checksum` goes into the field as it is."""
    return HEADER.pack(source_port, destination_port, HEADER_SIZE + payload_length, checksum)
