"""OpenVPN's packets: the first byte, and what stands in a control packet behind its protection.

Read first: openvpn-rfc, "Packet format" and "Reliability layer".
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from tunflow.errors import BadPacket

SESSION_SIZE = 8
LARGEST_ACKS = 8
"""Packet ids that one packet acknowledges."""
PING = bytes.fromhex("2a187bf3641eb4cb07ed2d0a981fc748")
"""A data packet that only says that its sender is there."""
EXIT_NOTIFY = bytes.fromhex("287f346bd4ef7a812d56b8d3afc5459c06")
"""A data packet that says that its sender goes (OCC message 6)."""
OCC_MAGIC = EXIT_NOTIFY[:16]
"""What begins with this is OpenVPN's own and no IP packet."""
IP_BEGINS = frozenset((*range(0x45, 0x50), *range(0x60, 0x70)))
"""First bytes of IP packets; what is OpenVPN's own begins otherwise."""

_ID = struct.Struct("!I")


class Opcode(IntEnum):
    """What a packet is, in the upper five bits of its first byte."""

    SOFT_RESET = 3
    CONTROL = 4
    ACK = 5
    DATA_V1 = 6
    RESET_CLIENT = 7
    RESET_SERVER = 8
    DATA_V2 = 9
    RESET_CLIENT_V3 = 10
    CONTROL_WKC = 11


CONTROLS = frozenset(Opcode) - {Opcode.DATA_V1, Opcode.DATA_V2}


class Head(NamedTuple):
    """The first byte, and the session that a control packet's sender calls its own."""

    opcode: Opcode
    key_id: int
    session: bytes

    def pack(self) -> bytes:
        """As it stands on the wire."""
        return bytes([self.opcode << 3 | self.key_id]) + self.session


class Control(NamedTuple):
    """What a control packet carries. `packet_id` None: it acknowledges and carries nothing."""

    acks: Sequence[int]
    peer_session: bytes
    """Whose packets are acknowledged; empty when none are."""
    packet_id: int | None
    payload: bytes

    def pack(self) -> bytes:
        """As it stands on the wire, before it is protected."""
        pieces = [bytes([len(self.acks)]), *map(_ID.pack, self.acks)]
        if self.acks:
            pieces.append(self.peer_session)
        if self.packet_id is not None:
            pieces += [_ID.pack(self.packet_id), self.payload]
        return b"".join(pieces)


def head_untrusted(packet: bytes) -> Head:
    """The head of a control packet. Raises BadPacket for what is none."""
    if len(packet) < 1 + SESSION_SIZE:
        raise BadPacket("a control packet has at least 9 bytes")
    code = packet[0] >> 3
    if code not in CONTROLS:
        raise BadPacket(f"opcode {code} is no control packet's")
    return Head(Opcode(code), packet[0] & 7, bytes(packet[1 : 1 + SESSION_SIZE]))


def control_untrusted(opcode: Opcode, body: bytes) -> Control:
    """What stands in a control packet. Raises BadPacket."""
    if not body:
        raise BadPacket("a control packet without its list of acknowledgements")
    count, at = body[0], 1
    if count > LARGEST_ACKS or len(body) < 1 + 4 * count + (SESSION_SIZE if count else 0):
        raise BadPacket(f"{count} acknowledgements do not fit the packet")
    acks = struct.unpack_from(f"!{count}I", body, at)
    at += 4 * count
    session = b""
    if count:
        session = bytes(body[at : at + SESSION_SIZE])
        at += SESSION_SIZE
    if opcode is Opcode.ACK:
        if not count:
            raise BadPacket("an acknowledgement of nothing")
        return Control(acks, session, None, b"")
    if len(body) < at + 4:
        raise BadPacket("a control packet without its id")
    return Control(acks, session, _ID.unpack_from(body, at)[0], bytes(body[at + 4 :]))
