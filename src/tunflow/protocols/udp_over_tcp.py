"""UDP over TCP: datagrams in a stream to a name that stands for no host, which servers of some programs know.

Read first: sing-box's documentation, "UDP over TCP". Version 1 is frames alone; in version 2 a request stands before
them, whether the stream is for one target (never here) and which the first is. Frames have address types of their own.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols import address
from tunflow.protocols.codec import Datagram
from tunflow.protocols.datagrams_in_stream import datagrams_untrusted

MAGIC_NAMES = {1: "sp.udp-over-tcp.arpa", 2: "sp.v2.udp-over-tcp.arpa"}
"""Where a stream of each version goes, to port 0."""

LONGEST = 65535
_FOR_ANY_TARGET = b"\0"
_TYPES = (address.IPV4, address.IPV6, address.NAME)
"""SOCKS5's address types, by those of the frames."""


class UDPOverTCP:
    """Datagrams to and from anybody; the first is for `target`. As `StreamDatagramCodec`."""

    __slots__ = ("_request",)

    def __init__(self, version: int, target: Endpoint) -> None:
        self._request = _FOR_ANY_TARGET + address.encode(target) if version == 2 else b""

    def seal(self, peer: Endpoint, payload: Buffer) -> Sequence[Buffer]:
        """As `StreamDatagramCodec.seal`."""
        if len(payload) > LONGEST:
            raise BadPacket(f"a frame of UDP over TCP has up to {LONGEST} bytes")
        request, self._request = self._request, b""
        socks = address.encode(peer)
        return request, bytes((_TYPES.index(socks[0]),)), socks[1:], len(payload).to_bytes(2, "big"), payload

    def open_untrusted(self, data: memoryview) -> tuple[list[Datagram], int]:
        """As `StreamDatagramCodec.open_untrusted`."""
        return datagrams_untrusted(data, _address_untrusted)


def _address_untrusted(data: memoryview) -> tuple[Endpoint, int] | None:
    """The address at the front, and its size; None while it is not whole. Raises BadPacket."""
    if not data:
        return None
    if data[0] >= len(_TYPES):
        raise BadPacket(f"address type {data[0]} of UDP over TCP is none of 0, 1 and 2")
    return address.parse_untrusted(bytes((_TYPES[data[0]],)) + data[1:])
