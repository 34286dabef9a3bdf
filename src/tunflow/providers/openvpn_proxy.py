"""An OpenVPN server behind a proxy: a stream by HTTP's CONNECT or SOCKS5, datagrams by a SOCKS5 association.

The proxy is told the server as the configuration names it, so a name is the proxy's to look up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from tunflow.endpoint import Buffer, Endpoint, endpoint
from tunflow.errors import BadPacket, LocalError
from tunflow.protocols.codec import StreamCodec
from tunflow.protocols.http.connect import HTTPConnectClient, basic
from tunflow.protocols.openvpn.settings import Proxy, Remote
from tunflow.protocols.sealed_reader import SealedReader
from tunflow.protocols.socks import socks5
from tunflow.protocols.socks.client5 import Socks5Client, Socks5Datagrams
from tunflow.providers.connections import TCPConnection, UDPSession
from tunflow.providers.openvpn_transport import Sockets, StreamTransport


async def stream_through(sockets: Sockets, proxy: Proxy, remote: Remote) -> StreamTransport:
    """A stream to the server. Raises OSError, also for a proxy that refuses."""
    target = endpoint(remote.host, remote.port)
    codec: StreamCodec
    if proxy.kind == "http":
        try:
            codec = HTTPConnectClient(target, basic(proxy.username, proxy.password) if proxy.username else None)
        except LocalError as error:
            raise OSError(str(error)) from None
    else:
        codec = Socks5Client(target, _credentials(proxy))
    connection, early = await _agreed(sockets, proxy, codec)
    return StreamTransport(connection, early)


async def datagrams_through(sockets: Sockets, proxy: Proxy, remote: Remote) -> ProxiedTransport:
    """Datagrams to the server, by an association. Raises OSError, also for a proxy that refuses."""
    request = Socks5Client(Endpoint(bytes(4), 0), _credentials(proxy), command=socks5.UDP_ASSOCIATE)
    control, _ = await _agreed(sockets, proxy, request)
    try:
        place = request.bound
        if place is None or not place.port:
            raise OSError(f"the proxy {proxy.host} names no place for datagrams")
        host = place.host_text
        if isinstance(place.host, bytes) and not any(place.host):
            host = control.remote_address.host_text  # as proxies behind translators say their own
        session = await sockets.create_udp_session(host, place.port)
    except BaseException:
        control.cancel()
        raise
    return ProxiedTransport(control, session, endpoint(remote.host, remote.port))


class ProxiedTransport:
    """As `openvpn_transport.Transport`; it ends with the stream that it was asked for on (RFC 1928 §7)."""

    def __init__(self, control: TCPConnection, session: UDPSession, server: Endpoint) -> None:
        self._control = control
        self._session = session
        self._server = server
        self._codec = Socks5Datagrams()
        self._ended = asyncio.ensure_future(self._wait_for_end())

    async def read(self, take: Callable[[list[bytes]], None]) -> None:
        """Hand over what arrives. Raises EOFError."""

        def heard(datagrams: list[bytes]) -> None:
            found: list[bytes] = []
            for datagram in datagrams:
                with suppress(BadPacket):
                    found.append(bytes(self._codec.open_untrusted(datagram)[1]))
            take(found)

        self._session.set_read_handler(heard)
        await asyncio.shield(self._ended)
        raise EOFError("the proxy ended the association")

    async def write(self, packets: Sequence[Buffer]) -> None:
        """Send."""
        with suppress(OSError):
            await self._session.write_datagrams([self._codec.seal(self._server, each) for each in packets])

    def send(self, packets: Sequence[Buffer]) -> Awaitable[None] | None:
        """Send."""
        return self.write(packets)

    def close(self) -> None:
        """Be over."""
        self._ended.cancel()
        self._session.cancel()
        self._control.cancel()

    async def _wait_for_end(self) -> None:
        with suppress(OSError):
            while await self._control.read():
                pass


def _credentials(proxy: Proxy) -> socks5.Credentials | None:
    return socks5.credentials(proxy.username, proxy.password) if proxy.username else None


async def _agreed(sockets: Sockets, proxy: Proxy, codec: StreamCodec) -> tuple[TCPConnection, bytes]:
    """A connection on which the proxy has said yes, and what came behind that. Raises OSError."""
    connection = await sockets.create_tcp_connection(proxy.host, proxy.port)
    reader, flow = SealedReader(codec.open_untrusted), b""
    try:
        while True:
            if said := codec.seal(()):
                await connection.write(*said)
            if codec.established:
                return connection, flow
            data = await connection.read()
            if not data:
                raise OSError(f"the proxy {proxy.host} closed the connection")
            flow += b"".join(reader.read_untrusted(data))
    except BadPacket as error:
        connection.cancel()
        raise OSError(f"the proxy {proxy.host}: {error}") from None
    except BaseException:
        connection.cancel()
        raise
