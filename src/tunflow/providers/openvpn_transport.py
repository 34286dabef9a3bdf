"""How OpenVPN's packets travel: in datagrams, or in a stream."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Protocol

from tunflow.endpoint import Buffer
from tunflow.protocols.openvpn.framing import StreamFraming, framed
from tunflow.providers.connections import TCPConnection, UDPSession


class PacketTransport(Protocol):
    """Packets to and from the server."""

    async def read(self, take: Callable[[list[bytes]], None]) -> None:
        """Hand what arrives to `take`, for ever. Raises EOFError or BadPacket when nothing will arrive any more."""

    async def write(self, packets: Sequence[Buffer]) -> None:
        """Send; what fails is lost, as on any wire."""

    def send(self, packets: Sequence[Buffer]) -> Awaitable[None] | None:
        """The same; None when all has left, or else what is to be awaited."""

    def close(self) -> None:
        """Be over."""


class DatagramTransport:
    """Over UDP."""

    def __init__(self, session: UDPSession) -> None:
        self.session = session

    async def read(self, take: Callable[[list[bytes]], None]) -> None:
        """Hand over what arrives."""
        self.session.set_read_handler(take)
        await asyncio.get_running_loop().create_future()

    async def write(self, packets: Sequence[Buffer]) -> None:
        """Send."""
        with suppress(OSError):
            await self.session.write_datagrams(packets)

    def send(self, packets: Sequence[Buffer]) -> Awaitable[None] | None:
        """Send."""
        try:
            sent = self.session.write_at_once(packets)
        except OSError:
            return None
        return None if sent == len(packets) else self.write(packets[sent:])

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

    async def read(self, take: Callable[[list[bytes]], None]) -> None:
        """Hand over what arrives."""
        while True:
            data, self._early = self._early, b""
            try:
                data = data or await self._connection.read()
            except OSError as error:
                raise EOFError(str(error)) from None
            if not data:
                raise EOFError("the server closed the connection")
            take(self._framing.feed_untrusted(data))

    async def write(self, packets: Sequence[Buffer]) -> None:
        """Send."""
        with suppress(OSError):  # the reader hears of it too
            await self._connection.write(framed(packets))

    def send(self, packets: Sequence[Buffer]) -> Awaitable[None] | None:
        """Send."""
        return self.write(packets)

    def close(self) -> None:
        """Be over."""
        self._connection.cancel()


class Sockets(Protocol):
    """What opens connections: a provider."""

    async def create_udp_session(self, host: str, port: int = 0) -> UDPSession:
        """See `Provider`."""

    async def create_tcp_connection(self, host: str, port: int = 0) -> TCPConnection:
        """See `Provider`."""
