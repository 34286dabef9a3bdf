"""How OpenVPN's packets travel: in datagrams, or in a stream."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from tunflow.endpoint import Buffer
from tunflow.protocols.openvpn.framing import StreamFraming, framed
from tunflow.providers.connections import TCPConnection, UDPSession

PAUSE = 0.1
"""Seconds after an error of a UDP socket: it is about what was sent, and the next read may bring something."""


class PacketTransport(Protocol):
    """Packets to and from the server."""

    async def read(self) -> list[bytes]:
        """What has arrived; empty for nothing. Raises EOFError or BadPacket when nothing will any more."""

    async def write(self, packets: Sequence[Buffer]) -> None:
        """Send; what cannot leave now is lost, as on any wire."""

    def close(self) -> None:
        """Be over."""


class DatagramTransport:
    """Over UDP."""

    def __init__(self, session: UDPSession) -> None:
        self.session = session

    async def read(self) -> list[bytes]:
        """What has arrived."""
        try:
            return await self.session.read_datagrams()
        except OSError:  # an ICMP error, or the session has just been replaced
            await asyncio.sleep(PAUSE)
            return []

    async def write(self, packets: Sequence[Buffer]) -> None:
        """Send."""
        with suppress(OSError):
            await self.session.write_datagrams(packets)

    def close(self) -> None:
        """Be over."""
        self.session.cancel()


class StreamTransport:
    """Over TCP."""

    def __init__(self, connection: TCPConnection, early: bytes = b"") -> None:
        """`early` came already."""
        self._connection = connection
        self._framing = StreamFraming()
        self._early = early

    async def read(self) -> list[bytes]:
        """What has arrived."""
        data, self._early = self._early, b""
        try:
            data = data or await self._connection.read()
        except OSError as error:
            raise EOFError(str(error)) from None
        if not data:
            raise EOFError("the server closed the connection")
        return self._framing.feed_untrusted(data)

    async def write(self, packets: Sequence[Buffer]) -> None:
        """Send."""
        with suppress(OSError):  # the reader hears of it too
            await self._connection.write(framed(packets))

    def close(self) -> None:
        """Be over."""
        self._connection.cancel()


class Sockets(Protocol):
    """What opens connections: a provider."""

    async def create_udp_session(self, host: str, port: int = 0) -> UDPSession:
        """See `Provider`."""

    async def create_tcp_connection(self, host: str, port: int = 0) -> TCPConnection:
        """See `Provider`."""
