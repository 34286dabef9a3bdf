"""TUIC's commands as bytes: each begins with the version and its kind.

Read first: the TUIC protocol, version 0x05 (github.com/tuic-protocol/tuic, SPEC.md).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols.first_request import FirstRequest

VERSION = 5
AUTHENTICATE, CONNECT, PACKET, DISSOCIATE, HEARTBEAT = range(5)

_NONE, _NAME, _IPV4, _IPV6 = 0xFF, 0, 1, 2
_PACKET = struct.Struct("!BBHHBBH")
NO_ADDRESS = b"\xff"


def head(command: int) -> bytes:
    """How a command begins."""
    return bytes((VERSION, command))


def address(target: Endpoint) -> bytes:
    """A target as commands have it. Raises BadPacket for a name that is too long."""
    port = target.port.to_bytes(2, "big")
    if isinstance(target.host, str):
        name = target.host.encode()
        if not 0 < len(name) <= 255:
            raise BadPacket("a name of more than 255 bytes")
        return bytes((_NAME, len(name))) + name + port
    return bytes((_IPV4 if len(target.host) == 4 else _IPV6,)) + target.host + port


def read_address_untrusted(data: bytes, at: int) -> tuple[Endpoint | None, int]:
    """The address at an offset (None for none), and the offset behind it. Raises BadPacket."""
    if at >= len(data):
        raise BadPacket("a TUIC address is missing")
    kind, at = data[at], at + 1
    if kind == _NONE:
        return None, at
    if kind == _NAME:
        size = data[at] if at < len(data) else 0
        at += 1
    elif kind in {_IPV4, _IPV6}:
        size = 4 if kind == _IPV4 else 16
    else:
        raise BadPacket(f"a TUIC address of the unknown kind {kind}")
    end = at + size + 2
    if not size or end > len(data):
        raise BadPacket("a TUIC address is not whole")
    host: bytes | str = data[at : at + size]
    if kind == _NAME:
        try:
            host = data[at : at + size].decode("ascii")
        except UnicodeDecodeError:
            raise BadPacket("a TUIC address has a name that is not ASCII") from None
    return Endpoint(host, int.from_bytes(data[end - 2 : end], "big")), end


class TUICPacket(NamedTuple):
    """A datagram, or a piece of one; only the first piece has its address."""

    association: int
    packet: int
    pieces: int
    piece: int
    peer: Endpoint | None
    payload: bytes


def packets(association: int, packet: int, target: Endpoint, payload: Buffer, largest: int) -> list[bytes]:
    """The commands of one datagram, each of `largest` bytes at most. Raises BadPacket for one that needs too many."""
    where = address(target)
    room = largest - _PACKET.size - len(where)
    count = max(1, -(-len(payload) // room)) if room > 0 else 256
    if count > 255:
        raise BadPacket("a datagram that is too large for its server")
    made = []
    for index in range(count):
        piece = bytes(payload[index * room : (index + 1) * room])
        begin = _PACKET.pack(VERSION, PACKET, association, packet, count, index, len(piece))
        made.append(begin + (where if not index else NO_ADDRESS) + piece)
    return made


def open_packet_untrusted(data: bytes) -> TUICPacket | None:
    """A packet; None for what is another command. Raises BadPacket."""
    if len(data) < 2 or data[0] != VERSION:
        raise BadPacket("a TUIC server speaks another version")
    if data[1] != PACKET:
        return None
    if len(data) < _PACKET.size:
        raise BadPacket("a TUIC packet is too short")
    _, _, association, packet, pieces, piece, size = _PACKET.unpack_from(data)
    peer, at = read_address_untrusted(data, _PACKET.size)
    if at + size > len(data):
        raise BadPacket("a TUIC packet is not whole")
    return TUICPacket(association, packet, pieces, piece, peer, data[at : at + size])


def connect(target: Endpoint) -> FirstRequest:
    """The client's end of one flow. Raises BadPacket."""
    return FirstRequest(head(CONNECT) + address(target))
