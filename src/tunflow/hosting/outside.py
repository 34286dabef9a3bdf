"""A provider's own connections around the tunnel, on sockets of this host."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Sequence

from tunflow.endpoint import Address, Buffer, Endpoint, endpoint
from tunflow.hosting.turns import TaskTurns
from tunflow.loop.datagram_batches import DatagramBatches
from tunflow.loop.reactor import EDGE, READ, WRITE, Reactor
from tunflow.loop.socket_address import address_of
from tunflow.loop.sockets import SocketOptions
from tunflow.outbound.dial_asyncio import NotConnected, dial
from tunflow.protocols.server_addresses import interleaved
from tunflow.providers.connections import TCPConnection, UDPSession

CONNECT_TIMEOUT = 15.0
"""Seconds for one of a host's addresses to answer."""

BATCH = 2
"""Datagrams, or as many batches of them, that one read takes from the socket."""

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
    """Connect to a host, racing its addresses (`outbound.dial`). Raises OSError."""
    try:
        sock = await dial(interleaved(await _addresses(remote, socket.SOCK_STREAM)), sockets, CONNECT_TIMEOUT)
    except NotConnected as error:
        raise OSError(error.errno, f"{remote}: {error.strerror}") from error
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        name = (server_name or remote.host_text) if tls is not None else None
        return SocketConnection(*await asyncio.open_connection(sock=sock, ssl=tls, server_hostname=name))
    except BaseException:
        sock.close()
        raise


class SocketUDPSession(UDPSession):
    """Datagrams on a connected socket, many in a call of the kernel where they come and go in numbers."""

    def __init__(self, reactor: Reactor, sock: socket.socket, failed: Callable[[BaseException], None]) -> None:
        """`failed` hears what a handler raises."""
        self._failed = failed
        self._handler: Callable[[list[bytes]], None] | None = None
        self._reactor = reactor
        self._socket = sock
        self._batches = DatagramBatches(sock, sheds=True)
        self._readable = True
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._closed = False
        self._turns = TaskTurns()
        reactor.add(sock.fileno(), READ | WRITE | EDGE, self._on_event)

    @property
    def local_address(self) -> Endpoint:
        """Our end."""
        return endpoint(*self._socket.getsockname()[:2])

    @property
    def resolved_endpoint(self) -> Endpoint:
        """The far end."""
        return endpoint(*self._socket.getpeername()[:2])

    @property
    def maximum_datagram_length(self) -> int:
        """What UDP can carry; the path may carry less in one piece."""
        return LARGEST_DATAGRAM

    async def read_datagrams(self) -> list[bytes]:
        """What has arrived."""
        await self._turns.take()
        while True:
            self._check_open()
            if self._readable:
                datagrams = self._arrived_ones()
                if datagrams:
                    return datagrams
                self._readable = False
            self._arrived.clear()
            await self._arrived.wait()
            self._turns.begin()

    def set_read_handler(self, handler: Callable[[list[bytes]], None]) -> None:
        """As `UDPSession.set_read_handler`: epoll tells again of what one event leaves, after others had theirs."""
        self._check_open()
        self._handler = handler
        self._reactor.modify(self._socket.fileno(), READ)

    async def write_datagrams(self, datagrams: Sequence[Buffer]) -> None:
        """Send."""
        sent = 0
        while True:
            sent += self.write_at_once(datagrams[sent:] if sent else datagrams)
            if sent == len(datagrams):
                return
            self._writable.clear()
            if self._handler is not None:
                self._reactor.modify(self._socket.fileno(), READ | WRITE)
            await self._writable.wait()

    def write_at_once(self, datagrams: Sequence[Buffer]) -> int:
        """Send what the socket takes."""
        self._check_open()
        return self._batches.send(datagrams)

    def cancel(self) -> None:
        """Close it."""
        if not self._closed:
            self._closed = True
            self._reactor.remove(self._socket.fileno())
            self._socket.close()
            self._arrived.set()
            self._writable.set()

    def _on_event(self, events: int) -> None:
        if events & WRITE:
            self._writable.set()
            if self._handler is not None:
                self._reactor.modify(self._socket.fileno(), READ)
        if events & ~WRITE:
            if self._handler is None:
                self._readable = True
                self._arrived.set()
            else:
                self._hand_over(self._handler)

    def _hand_over(self, handler: Callable[[list[bytes]], None]) -> None:
        try:
            datagrams = self._arrived_ones(told_again=True)
        except OSError:
            return  # an ICMP error about what was sent
        if datagrams:
            try:
                handler(datagrams)
            except BaseException as error:
                self._failed(error)

    def _arrived_ones(self, *, told_again: bool = False) -> list[bytes]:
        datagrams: list[bytes] = []
        for batch, _ in self._batches.receive(BATCH, told_again=told_again):
            datagrams += batch
        return datagrams

    def _check_open(self) -> None:
        if self._closed:
            raise OSError(errno.EBADF, "the session is closed")


async def open_udp(
    remote: Endpoint,
    local: Endpoint | None,
    sockets: SocketOptions,
    reactor: Reactor,
    failed: Callable[[BaseException], None],
) -> SocketUDPSession:
    """A session with a host's first address; `failed` hears what its handler raises. Raises OSError."""
    address = (await _addresses(remote, socket.SOCK_DGRAM))[0]
    sock = sockets.open(address.family, socket.SOCK_DGRAM)
    try:
        if local is not None:
            sock.bind((local.host_text, local.port))
        sock.connect(address.sockaddr)
        return SocketUDPSession(reactor, sock, failed)
    except BaseException:
        sock.close()
        raise


async def _addresses(remote: Endpoint, kind: int) -> list[Address]:
    """Socket addresses of a host, looked up by the system where it is a name. Raises OSError."""
    if isinstance(remote.host, bytes):
        return [address_of(remote)]
    try:
        found = await asyncio.get_running_loop().getaddrinfo(remote.host, remote.port, type=kind)
    except socket.gaierror as error:
        raise OSError(errno.EHOSTUNREACH, f"{remote}: {error.strerror}") from error
    except ValueError as error:  # what IDNA cannot encode, or a byte of zeros
        raise OSError(errno.EHOSTUNREACH, f"{remote.host!r} is no name of a host") from error
    return [Address(family, (str(sockaddr[0]), int(sockaddr[1]))) for family, _, _, _, sockaddr in found]
