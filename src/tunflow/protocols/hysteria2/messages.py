"""What Hysteria2 says besides HTTP/3: the request of a stream, its answer, and datagrams.

Read first: the Hysteria 2 protocol, "Proxy Requests" (v2.hysteria.network/docs/developers/Protocol).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tunflow.addresses import ip_address
from tunflow.endpoint import Buffer, Endpoint, endpoint
from tunflow.errors import BadPacket
from tunflow.protocols.codec import ProxyRefused, Refusal
from tunflow.protocols.quic import varint

TCP_REQUEST = 0x401
LONGEST_MESSAGE = 2048
LONGEST_PADDING = 4096
LONGEST_ADDRESS = 2048
PADDING = range(64, 512)
"""Bytes of padding in a request, which hides how long its target is."""
_OK = 0
_HEAD = struct.Struct("!IHBB")


def format_target(target: Endpoint) -> bytes:
    """`HOST:PORT`, an IPv6 address in brackets."""
    host = target.host if isinstance(target.host, str) else str(ip_address(target.host))
    return f"[{host}]:{target.port}".encode() if ":" in host else f"{host}:{target.port}".encode()


def parse_target_untrusted(text: bytes) -> Endpoint:
    """The reverse. Raises BadPacket."""
    host, colon, port = text.decode("ascii", "replace").rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise BadPacket("a Hysteria2 server names no address")
    return endpoint(host, int(port))


class TCPRequest:
    """The client's end of one flow to `target`. As `StreamCodec`."""

    __slots__ = ("_request", "established")

    def __init__(self, target: Endpoint, random_bytes: Callable[[int], bytes]) -> None:
        address = format_target(target)
        padding = random_bytes(PADDING.start + random_bytes(1)[0] * (PADDING.stop - PADDING.start) // 256)
        parts = (varint.encode(TCP_REQUEST), varint.encode(len(address)), address, varint.encode(len(padding)), padding)
        self._request = b"".join(parts)
        self.established = False

    @property
    def transparent(self) -> bool:
        """True if the server agreed."""
        return self.established

    def seal(self, pieces: Sequence[Buffer]) -> list[Buffer]:
        """As `StreamCodec.seal`; the first call gives the request."""
        request, self._request = self._request, b""
        return [request, *pieces] if request else list(pieces)

    def open_untrusted(self, data: memoryview) -> tuple[list[Buffer], int]:
        """As `StreamCodec.open_untrusted`. Raises BadPacket, and ProxyRefused with the server's words."""
        if self.established:
            return ([bytes(data)] if data else []), len(data)
        used = self._answer_untrusted(data)
        if not used:
            return [], 0
        self.established = True
        rest = bytes(data[used:])
        return ([rest] if rest else []), len(data)

    def finish(self) -> list[Buffer]:
        """Nothing: the stream's end is the flow's."""
        return []

    def _answer_untrusted(self, data: memoryview) -> int:
        """The size of the answer, 0 while it is not whole. Raises BadPacket, ProxyRefused."""
        fields: list[bytes] = []
        at = 1
        for longest in (LONGEST_MESSAGE, LONGEST_PADDING):
            if at >= len(data) or at + (1 << (data[at] >> 6)) > len(data):
                return 0
            size, at = varint.read_untrusted(data, at)
            if size > longest:
                raise BadPacket("an answer that is too long")
            if at + size > len(data):
                return 0
            fields.append(bytes(data[at : at + size]))
            at += size
        if data[0] != _OK:
            words = fields[0].decode("utf-8", "replace")
            raise ProxyRefused(refusal_of(words), "".join(each if each.isprintable() else "?" for each in words)[:200])
        return at


def refusal_of(words: str) -> Refusal:
    """What the words of a server, which are those of its system, mean for the client."""
    lower = words.lower()
    for sign, refusal in (
        ("connection refused", Refusal.REFUSED),
        ("network is unreachable", Refusal.NET_UNREACHABLE),
        ("no route to host", Refusal.HOST_UNREACHABLE),
        ("no such host", Refusal.HOST_UNREACHABLE),
        ("timeout", Refusal.TIMED_OUT),
        ("timed out", Refusal.TIMED_OUT),
        ("reject", Refusal.PROHIBITED),
        ("not allowed", Refusal.PROHIBITED),
    ):
        if sign in lower:
            return refusal
    return Refusal.FAILED


class UDPMessage(NamedTuple):
    """One DATAGRAM frame: a datagram, or a piece of one."""

    session: int
    packet: int
    piece: int
    pieces: int
    target: bytes
    payload: bytes


def seal_message(message: UDPMessage) -> bytes:
    """A message as bytes."""
    head = _HEAD.pack(message.session, message.packet, message.piece, message.pieces)
    return b"".join((head, varint.encode(len(message.target)), message.target, message.payload))


def open_message_untrusted(data: bytes) -> UDPMessage:
    """The reverse. Raises BadPacket."""
    if len(data) < _HEAD.size:
        raise BadPacket("a UDP message is too short")
    size, at = varint.read_untrusted(data, _HEAD.size)
    if not 0 < size <= LONGEST_ADDRESS or at + size > len(data):
        raise BadPacket("a UDP message's address is not whole")
    session, packet, piece, pieces = _HEAD.unpack_from(data)
    return UDPMessage(session, packet, piece, pieces, data[at : at + size], data[at + size :])


def fragments(session: int, packet: int, target: bytes, payload: Buffer, largest: int) -> list[bytes]:
    """The messages of one datagram, each of `largest` bytes at most. Raises BadPacket for one that needs too many."""
    room = largest - _HEAD.size - len(varint.encode(len(target))) - len(target)
    count = max(1, -(-len(payload) // room)) if room > 0 else 256
    if count > 255:
        raise BadPacket("a datagram that is too large for its server")
    return [
        seal_message(
            UDPMessage(session, packet, index, count, target, bytes(payload[index * room : (index + 1) * room]))
        )
        for index in range(count)
    ]
