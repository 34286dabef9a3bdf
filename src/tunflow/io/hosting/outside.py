"""A provider's own connections around the tunnel, on sockets of this host."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections import deque
from collections.abc import Sequence

from tunflow.endpoint import Buffer, Endpoint, endpoint
from tunflow.io.sockets import SocketOptions
from tunflow.providers.connections import TCPConnection, UDPSession

CONNECT_TIMEOUT = 15.0
"""Seconds for each address of a host."""

DATAGRAMS = 256
"""Datagrams that wait for a provider to read them; more are dropped, as a full socket would."""

LARGEST_DATAGRAM = 65507


class SocketConnection(TCPConnection):
    """A stream on a socket, with TLS or without."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @property
    def local_address(self) -> Endpoint:
        """Our end."""
        return endpoint(*self._writer.get_extra_info("sockname")[:2])

    @property
    def remote_address(self) -> Endpoint:
        """The far end."""
        return endpoint(*self._writer.get_extra_info("peername")[:2])

    async def read(self, most: int = 65536) -> bytes:
        """What has arrived."""
        return await self._reader.read(most)

    async def read_exactly(self, size: int) -> bytes:
        """So many bytes."""
        return await self._reader.readexactly(size)

    async def write(self, *pieces: Buffer) -> None:
        """Send."""
        self._writer.writelines(pieces)
        await self._writer.drain()

    def write_close(self) -> None:
        """End of the stream; with TLS, which has no half-close, of both."""
        if self._writer.can_write_eof():
            self._writer.write_eof()
        else:
            self._writer.close()

    def cancel(self) -> None:
        """Give it up."""
        self._writer.transport.abort() if self._writer.transport.get_write_buffer_size() == 0 else self._writer.close()


async def connect(
    remote: Endpoint, tls: ssl.SSLContext | None, server_name: str | None, sockets: SocketOptions
) -> SocketConnection:
    """Connect to a host, trying its addresses in order. Raises OSError."""
    loop = asyncio.get_running_loop()
    failure: OSError = OSError(errno.EHOSTUNREACH, f"{remote}: no address")
    for family, sockaddr in await _addresses(remote, socket.SOCK_STREAM):
        sock = sockets.open(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await loop.sock_connect(sock, sockaddr)
        except TimeoutError:
            sock.close()
            failure = TimeoutError(errno.ETIMEDOUT, f"{remote}: {os.strerror(errno.ETIMEDOUT)}")
            continue
        except OSError as error:
            sock.close()
            failure = OSError(error.errno, f"{remote}: {os.strerror(error.errno or 0)}")
            continue
        except BaseException:
            sock.close()
            raise
        name = (server_name or remote.host_text) if tls is not None else None
        return SocketConnection(*await asyncio.open_connection(sock=sock, ssl=tls, server_hostname=name))
    raise failure


class SocketUDPSession(UDPSession):
    """Datagrams on a connected socket."""

    def __init__(self, transport: asyncio.DatagramTransport, protocol: _Datagrams) -> None:
        self._transport = transport
        self._protocol = protocol

    @property
    def local_address(self) -> Endpoint:
        """Our end."""
        return endpoint(*self._transport.get_extra_info("sockname")[:2])

    @property
    def resolved_endpoint(self) -> Endpoint:
        """The far end."""
        return endpoint(*self._transport.get_extra_info("peername")[:2])

    @property
    def maximum_datagram_length(self) -> int:
        """What UDP can carry; the path may carry less in one piece."""
        return LARGEST_DATAGRAM

    async def read_datagrams(self) -> list[bytes]:
        """What has arrived."""
        return await self._protocol.take()

    async def write_datagrams(self, datagrams: Sequence[Buffer]) -> None:
        """Send."""
        self._protocol.raise_error()
        for datagram in datagrams:
            self._transport.sendto(datagram)
        await self._protocol.drained()

    def cancel(self) -> None:
        """Close it."""
        self._transport.abort()


class _Datagrams(asyncio.DatagramProtocol):
    """Keeps what arrives until it is taken."""

    def __init__(self) -> None:
        self._waiting: deque[bytes] = deque(maxlen=DATAGRAMS)
        self._error: OSError | None = None
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002
        if len(self._waiting) < DATAGRAMS:
            self._waiting.append(data)
        self._arrived.set()

    def error_received(self, exc: Exception) -> None:
        self._error = exc if isinstance(exc, OSError) else OSError(str(exc))
        self._arrived.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._error = exc if isinstance(exc, OSError) else OSError(errno.EBADF, "the session is closed")
        self._arrived.set()
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def take(self) -> list[bytes]:
        while not self._waiting:
            self.raise_error()
            self._arrived.clear()
            await self._arrived.wait()
        datagrams = list(self._waiting)
        self._waiting.clear()
        return datagrams

    async def drained(self) -> None:
        await self._writable.wait()

    def raise_error(self) -> None:
        """An error is told once, as a socket does."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error


async def open_udp(remote: Endpoint, local: Endpoint | None, sockets: SocketOptions) -> SocketUDPSession:
    """A session with a host's first address. Raises OSError."""
    family, sockaddr = (await _addresses(remote, socket.SOCK_DGRAM))[0]
    sock = sockets.open(family, socket.SOCK_DGRAM)
    try:
        if local is not None:
            sock.bind((local.host_text, local.port))
        sock.connect(sockaddr)
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_datagram_endpoint(_Datagrams, sock=sock)
    except BaseException:
        sock.close()
        raise
    return SocketUDPSession(transport, protocol)


async def _addresses(remote: Endpoint, kind: int) -> list[tuple[int, tuple[str, int]]]:
    """Socket addresses of a host, looked up by the system where it is a name. Raises OSError."""
    if isinstance(remote.host, bytes):
        family = socket.AF_INET if len(remote.host) == 4 else socket.AF_INET6
        return [(family, (remote.host_text, remote.port))]
    try:
        found = await asyncio.get_running_loop().getaddrinfo(remote.host, remote.port, type=kind)
    except socket.gaierror as error:
        raise OSError(errno.EHOSTUNREACH, f"{remote}: {error.strerror}") from error
    return [(family, (str(sockaddr[0]), int(sockaddr[1]))) for family, _, _, _, sockaddr in found]
