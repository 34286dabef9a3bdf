"""A provider's own connections through its tunnel: a small stack that stands beside the programs of this machine.

Its packets are read by the provider from `packet_flow` as programs' packets are, with the tunnel's address as their
source; answers that the provider writes come back here instead of to the device. Its ports are above those that the
kernel gives to programs by itself (ip_local_port_range ends at 60999), so the two do not meet.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import socket
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tunflow.dataplane.statistics import Statistics
from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket, LocalError
from tunflow.flow import TCP, FlowInfo
from tunflow.hosting.outside import SocketConnection
from tunflow.hosting.packet_flow import DevicePacketFlow
from tunflow.hosting.splice import splice
from tunflow.hosting.tcp_flow import StackTCPFlow
from tunflow.loop.reactor import Reactor
from tunflow.outbound.direct import DirectOutbound
from tunflow.providers.connections import UDPSession
from tunflow.providers.tunnel_settings import PacketTunnelNetworkSettings, TunnelNetworkSettings
from tunflow.stack.stack import Stack
from tunflow.stack.udp import UDPMapping
from tunflow.wire import protocols

if TYPE_CHECKING:
    import ssl


FIRST_PORT = 61000
LAST_PORT = 65535

DATAGRAMS = 256
"""Datagrams that wait for a provider to read them."""

PHYSICAL_MTU = 1500


class ThroughTunnel:
    """The stack, and what a driver would do for it. Raises OSError while the tunnel has no settings."""

    def __init__(
        self, reactor: Reactor, packets: DevicePacketFlow, settings: Callable[[], TunnelNetworkSettings | None]
    ) -> None:
        self.reactor = reactor
        self.statistics = Statistics()
        self._packets = packets
        self._settings = settings
        self.stack = Stack(self._known_settings().mtu_on(PHYSICAL_MTU), os.urandom(32))
        self._ports = itertools.cycle(range(FIRST_PORT, LAST_PORT + 1))
        self._taken: set[tuple[int, int]] = set()
        """Protocol and port of ours that are in use."""
        self._sessions: dict[int, ThroughUDPSession] = {}
        self._flows: weakref.WeakSet[StackTCPFlow] = weakref.WeakSet()
        self._tasks: set[asyncio.Task[None]] = set()
        packets.intercept_by(self._intercept)
        reactor.at_round_end(self._end_of_round)
        reactor.add_deadline(self.stack.next_timeout, self.stack.handle_timeout)

    def close(self) -> None:
        """End all of it."""
        self._packets.intercept_by(None)
        self.reactor.forget_machine(self._end_of_round, self.stack.next_timeout)
        for task in self._tasks:
            task.cancel()

    def reset_all(self) -> None:
        """End every TCP connection with a reset."""
        for flow in list(self._flows):
            flow.close_write(ConnectionResetError())

    async def connect(self, remote: Endpoint, tls: ssl.SSLContext | None, server_name: str | None) -> ThroughConnection:
        """A stream to an address behind the tunnel. Raises OSError."""
        local = self._local(remote, protocols.TCP)
        try:
            connection = self.stack.connect(local, remote, self.reactor.now)
        except LocalError as error:
            raise OSError(errno.EADDRINUSE, str(error)) from None
        flow = StackTCPFlow.opened_by_us(self, connection, FlowInfo(TCP, local, remote), DirectOutbound())
        self._flows.add(flow)
        try:
            await flow.until_open()
        except BaseException:
            self._taken.discard((protocols.TCP, local.port))
            raise
        # A pair of sockets makes it what asyncio and its TLS know to use.
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        inner = SocketConnection(*await asyncio.open_connection(sock=ours))
        task = asyncio.ensure_future(self._pump(flow, inner, local.port))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        name = (server_name or remote.host_text) if tls is not None else None
        reader, writer = await asyncio.open_connection(sock=theirs, ssl=tls, server_hostname=name)
        return ThroughConnection(reader, writer, local, remote)

    async def open_udp(self, remote: Endpoint, local: Endpoint | None) -> ThroughUDPSession:
        """Datagrams to an address behind the tunnel. Raises OSError."""
        chosen = self._local(remote, protocols.UDP, local.port if local is not None else 0)
        made = self._sessions[chosen.port] = ThroughUDPSession(self, chosen, remote)
        return made

    def closed(self, protocol: int, port: int) -> None:
        """A port is free again."""
        self._taken.discard((protocol, port))
        if protocol == protocols.UDP:
            self._sessions.pop(port, None)

    async def _pump(self, flow: StackTCPFlow, inner: SocketConnection, port: int) -> None:
        try:
            await splice(flow, inner)
        except Exception:
            inner.cancel()  # the other end of the pair hears of it
        finally:
            self.closed(protocols.TCP, port)

    def _local(self, remote: Endpoint, protocol: int, wanted: int = 0) -> Endpoint:
        """The tunnel's own address of the right family, and a free port. Raises OSError."""
        if isinstance(remote.host, str):
            raise OSError(errno.EINVAL, f"{remote}: expected an address: names are to be looked up through the tunnel")
        settings = self._known_settings()
        family = settings.ipv4_settings if len(remote.host) == 4 else settings.ipv6_settings
        if family is None:
            raise OSError(errno.EADDRNOTAVAIL, f"{remote}: the tunnel has no address of this family")
        for _ in range(FIRST_PORT, LAST_PORT + 1):
            port = wanted or next(self._ports)
            if (protocol, port) not in self._taken:
                self._taken.add((protocol, port))
                return Endpoint(family.addresses[0].ip.packed, port)
            if wanted:
                break
        raise OSError(errno.EADDRINUSE, f"no free port to reach {remote} from")

    def _known_settings(self) -> PacketTunnelNetworkSettings:
        """The tunnel's settings. Raises OSError while there are none."""
        settings = self._settings()
        if not isinstance(settings, PacketTunnelNetworkSettings):
            raise OSError(errno.ENETDOWN, "the tunnel has no addresses yet: call set_tunnel_network_settings first")
        return settings

    # What a driver does.

    def _intercept(self, packet: bytes) -> bool:
        """Whether a packet that the provider wrote is for us; then it is taken."""
        if len(packet) < 28:
            return False
        first = packet[0]
        if first == 0x45:
            protocol, at = packet[9], 20
        elif first >> 4 == 6 and len(packet) >= 48:
            protocol, at = packet[6], 40
        else:
            return False
        if (protocol, packet[at + 2] << 8 | packet[at + 3]) not in self._taken:
            return False
        self.stack.receive([packet], 0, self.reactor.now)
        self._end_of_round()
        return True

    def _end_of_round(self) -> None:
        stack = self.stack
        while stack.changed:
            changed, stack.changed = stack.changed, []
            for connection in changed:
                connection.notified = False
                if connection.user is not None:
                    connection.user.service()
        for connection in stack.requests:
            connection.reject(reset=True)  # nobody listens here
        stack.requests.clear()
        for run in stack.udp.take_arrivals():
            session = self._sessions.get(run.flow.target.port)
            if session is not None and session.resolved_endpoint == run.flow.mapping.client:
                session.arrived([bytes(datagram) for datagram in run.datagrams()])
        stack.udp.expired.clear()
        stack.icmp.echo_requests.clear()
        stack.flush()
        outgoing, stack.outgoing = stack.outgoing, []
        for packet in outgoing:
            self._packets.inject(packet)


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
    """Datagrams through the tunnel."""

    def __init__(self, tunnel: ThroughTunnel, local: Endpoint, remote: Endpoint) -> None:
        self._tunnel = tunnel
        self._local = local
        self._remote = remote
        self._mapping = UDPMapping(remote, local, tunnel.reactor.now)
        self._waiting: list[bytes] = []
        self._arrived = asyncio.Event()
        self._closed = False

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
        return self._tunnel.stack.mtu - (28 if len(self._remote.host) == 4 else 48)

    def arrived(self, datagrams: list[bytes]) -> None:
        """From the far end."""
        self._waiting += datagrams[: max(0, DATAGRAMS - len(self._waiting))]
        self._arrived.set()

    async def read_datagrams(self) -> list[bytes]:
        """What has arrived."""
        while not self._waiting:
            if self._closed:
                raise OSError(errno.EBADF, "the session is closed")
            self._arrived.clear()
            await self._arrived.wait()
        waiting, self._waiting = self._waiting, []
        return waiting

    async def write_datagrams(self, datagrams: Sequence[Buffer]) -> None:
        """Send."""
        if self._closed:
            raise OSError(errno.EBADF, "the session is closed")
        stack = self._tunnel.stack
        for datagram in datagrams:
            try:
                packet = stack.udp.datagram(self._mapping, self._local, bytes(datagram), self._tunnel.reactor.now)
            except BadPacket as error:
                raise OSError(errno.EMSGSIZE, str(error)) from None
            stack.outgoing.append(packet)

    def cancel(self) -> None:
        """Close it."""
        if not self._closed:
            self._closed = True
            self._arrived.set()
            self._tunnel.closed(protocols.UDP, self._local.port)
