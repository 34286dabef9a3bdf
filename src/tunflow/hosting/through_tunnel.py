"""A provider's own connections through its tunnel, by the inner stack at the tunnel's near end.

Where programs' packets come from a device, the inner stack stands beside them: its packets are read by the provider
from `packet_flow` as programs' packets are, with the tunnel's address as their source, and what the provider writes for
it goes there instead of to the device. Where flows go out by the tunnel, it is the stack that carries those, too.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tunflow.dataplane.statistics import Statistics
from tunflow.device import Packet
from tunflow.endpoint import Buffer, Endpoint
from tunflow.flow import TCP, FlowInfo
from tunflow.hosting.outside import SocketConnection
from tunflow.hosting.packet_flow import DevicePacketFlow
from tunflow.hosting.splice import splice
from tunflow.hosting.tcp_flow import StackTCPFlow
from tunflow.hosting.waiting_datagrams import WaitingDatagrams
from tunflow.outbound.direct import DirectOutbound
from tunflow.outbound.inner_stack import InnerStack
from tunflow.protocols.codec import Datagram
from tunflow.providers.connections import UDPSession

if TYPE_CHECKING:
    import ssl

DATAGRAMS = 256
"""Datagrams that wait for a provider to read them."""


class BesidePrograms:
    """As `InnerLink`: beside the programs whose packets a provider carries."""

    def __init__(self, packets: DevicePacketFlow, mtu: int) -> None:
        self.mtu = mtu
        self._packets = packets

    def attach(self, inner: InnerStack) -> None:
        """As `InnerLink.attach`."""

        def take(packet: bytes) -> bool:
            if not inner.expects(packet):
                return False
            inner.receive([packet], 0)
            return True

        self._packets.intercept_by(take)

    def detach(self) -> None:
        """As `InnerLink.detach`."""
        self._packets.intercept_by(None)

    def write(self, packets: Sequence[Packet]) -> None:
        """As `InnerLink.write`."""
        for packet in packets:
            self._packets.inject(packet)


class ThroughTunnel:
    """What one provider opens on an inner stack."""

    def __init__(self, inner: InnerStack, failed: Callable[[BaseException], None]) -> None:
        """`failed` hears what a handler of the provider's raises."""
        self.inner = inner
        self.handler_failed = failed
        self.reactor = inner.reactor
        self.stack = inner.stack
        self.statistics = Statistics()
        self.sessions: set[ThroughUDPSession] = set()
        self._flows: weakref.WeakSet[StackTCPFlow] = weakref.WeakSet()
        self._tasks: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """End all of it."""
        for session in list(self.sessions):
            session.cancel()
        for task in self._tasks:
            task.cancel()

    def reset_all(self) -> None:
        """End every TCP connection with a reset."""
        for flow in list(self._flows):
            flow.close_write(ConnectionResetError())

    async def connect(self, remote: Endpoint, tls: ssl.SSLContext | None, server_name: str | None) -> ThroughConnection:
        """A stream to an address behind the tunnel. Raises OSError."""
        own = _own_address(self.inner, remote)
        connection = self.inner.open_connection(remote)
        local = Endpoint(own, connection.target.port)
        flow = StackTCPFlow.opened_by_us(self, connection, FlowInfo(TCP, local, remote), DirectOutbound())
        self._flows.add(flow)
        await flow.until_open()
        # A pair of sockets makes it what asyncio and its TLS know to use.
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        inner = SocketConnection(*await asyncio.open_connection(sock=ours))
        task = asyncio.ensure_future(self._pump(flow, inner))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        name = (server_name or remote.host_text) if tls is not None else None
        reader, writer = await asyncio.open_connection(sock=theirs, ssl=tls, server_hostname=name)
        return ThroughConnection(reader, writer, local, remote)

    async def open_udp(self, remote: Endpoint, local: Endpoint | None) -> ThroughUDPSession:
        """Datagrams to an address behind the tunnel. Raises OSError."""
        made = ThroughUDPSession(self, remote, 0 if local is None else local.port)
        self.sessions.add(made)
        return made

    async def _pump(self, flow: StackTCPFlow, inner: SocketConnection) -> None:
        try:
            await splice(flow, inner)
        except Exception:
            inner.cancel()  # the other end of the pair hears of it


class ThroughConnection(SocketConnection):
    """A stream through the tunnel."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, local: Endpoint, remote: Endpoint
    ) -> None:
        super().__init__(reader, writer)
        self._local = local
        self._remote = remote

    @property
    def local_address(self) -> Endpoint:
        """The tunnel's address and a port."""
        return self._local

    @property
    def remote_address(self) -> Endpoint:
        """The far end."""
        return self._remote


class ThroughUDPSession(UDPSession):
    """Datagrams through the tunnel. Raises OSError."""

    def __init__(self, tunnel: ThroughTunnel, remote: Endpoint, port: int) -> None:
        self._inner = inner = tunnel.inner
        own = _own_address(inner, remote)
        self._remote = remote
        self._told = tunnel.sessions.discard
        self._socket = inner.open_socket(self._received, port)
        self._local = Endpoint(own, self._socket.port)
        self._waiting = WaitingDatagrams(DATAGRAMS, tunnel.handler_failed)

    @property
    def local_address(self) -> Endpoint:
        """The tunnel's address and a port."""
        return self._local

    @property
    def resolved_endpoint(self) -> Endpoint:
        """The far end."""
        return self._remote

    @property
    def maximum_datagram_length(self) -> int:
        """What fits into one packet of the tunnel."""
        return self._inner.stack.mtu - (28 if len(self._remote.host) == 4 else 48)

    def _received(self, datagrams: Sequence[Datagram]) -> None:
        """From anybody: what is not the far end's is dropped."""
        self._waiting.put(payload for source, payload in datagrams if source == self._remote)

    async def read_datagrams(self) -> list[bytes]:
        """What has arrived."""
        return await self._waiting.take()

    def set_read_handler(self, handler: Callable[[list[bytes]], None]) -> None:
        """As `UDPSession.set_read_handler`."""
        self._waiting.hand_to(handler)

    async def write_datagrams(self, datagrams: Sequence[Buffer]) -> None:
        """Send."""
        self.write_at_once(datagrams)

    def write_at_once(self, datagrams: Sequence[Buffer]) -> int:
        """The same: the tunnel never waits."""
        self._waiting.check_open()
        if self._socket.send(self._remote, datagrams):
            raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
        return len(datagrams)

    def cancel(self) -> None:
        """Close it."""
        if not self._waiting.is_closed:
            self._waiting.close()
            self._socket.close()
            self._told(self)


def _own_address(inner: InnerStack, remote: Endpoint) -> bytes:
    """The tunnel's address that a connection to `remote` comes from. Raises OSError."""
    if isinstance(remote.host, str):
        raise OSError(errno.EINVAL, f"{remote}: expected an address: names are to be looked up through the tunnel")
    return inner.own_address(remote)
