"""The near end of a packet tunnel as a host: its own addresses, connections, datagrams and pings, by a stack.

A tunnel has one, whoever opens something in it: flows that go out by the tunnel, look-ups of names, and the provider's
own connections through it. So none of them can have the port of another. The ports are above those that the kernel
gives to programs by itself (ip_local_port_range ends at 60999), so that they never meet where both use the tunnel.
"""

from __future__ import annotations

import errno
import itertools
import os
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from tunflow.conduit import ClientConduit, Conduit
from tunflow.contained import Contained, Lost
from tunflow.device import Device, Packet
from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket, LocalError
from tunflow.loop.reactor import READ, Reactor
from tunflow.loop.stack_round import flush, receive, serve_changed
from tunflow.protocols.codec import Datagram
from tunflow.protocols.contract import Dialled
from tunflow.stack.stack import Stack
from tunflow.stack.tcp.connection import Connection
from tunflow.stack.udp import UDPMapping
from tunflow.wire import icmp, ipv4, ipv6, protocols, virtio_net

FIRST_PORT = 61000
LAST_PORT = 65535

BATCH = 64
"""Packets read at a time."""

REMEMBERED = 256
"""Pings whose answer is still welcome."""

_WRAPPED = struct.Struct("!HH")

_A_PACKET = Lost("a packet out of a tunnel")

Received = Callable[[Sequence[Datagram]], None]


class InnerLink(Protocol):
    """Brings packets between an inner stack and its tunnel."""

    @property
    def mtu(self) -> int:
        """Bytes of the longest packet."""

    def attach(self, inner: InnerStack) -> None:
        """Give it what comes out of the tunnel from now on, by `InnerStack.receive`."""

    def detach(self) -> None:
        """Give it nothing more."""

    def write(self, packets: Sequence[Packet]) -> None:
        """Packets into the tunnel, behind virtio-net headers."""


class DeviceLink:
    """As `InnerLink`, by a device whose other end is the tunnel's."""

    def __init__(self, reactor: Reactor, device: Device) -> None:
        self.mtu = device.mtu
        self._reactor = reactor
        self._device = device
        self._inner: InnerStack | None = None

    def attach(self, inner: InnerStack) -> None:
        """As `InnerLink.attach`."""
        self._inner = inner
        self._reactor.add(self._device.fileno(), READ, self._on_device)

    def detach(self) -> None:
        """As `InnerLink.detach`."""
        if self._inner is not None:
            self._inner = None
            self._reactor.remove(self._device.fileno())

    def write(self, packets: Sequence[Packet]) -> None:
        """As `InnerLink.write`."""
        self._device.write(packets)

    def _on_device(self, _events: int) -> None:
        if self._inner is None:
            return
        try:
            packets = self._device.read(BATCH)
        except EOFError:
            self.detach()
            return
        self._inner.receive(packets, self._device.vnet_offset)


class InnerStack:
    """Runs until closed; `addresses` are the tunnel's own, packed, of each size (4, 16) one at most."""

    def __init__(self, reactor: Reactor, link: InnerLink, addresses: Iterable[bytes]) -> None:
        self.reactor = reactor
        self._link = link
        self._addresses: Mapping[int, bytes] = {len(address): address for address in addresses}
        self.stack = Stack(link.mtu, os.urandom(32), frozenset(self._addresses.values()))
        self._ports = itertools.cycle(range(FIRST_PORT, LAST_PORT + 1))
        self._sockets: dict[int, InnerSocket] = {}
        self._pings: dict[tuple[bytes, int], Callable[[], None]] = {}
        self._sequence = 0
        self.is_closed = False
        self.heard_at = 0.0
        """When packets last came out of the tunnel, in the reactor's time."""
        link.attach(self)
        reactor.add_deadline(self.stack.next_timeout, self._on_timeout)
        reactor.at_round_end(self._end_of_round)

    @property
    def addresses(self) -> frozenset[bytes]:
        """The tunnel's own, packed."""
        return self.stack.own

    def has_family(self, size: int) -> bool:
        """Return True if the tunnel has an address of this size."""
        return size in self._addresses

    @property
    def is_used(self) -> bool:
        """Return True while there are connections, or ways for datagrams."""
        return self.stack.connections > 0 or bool(self._sockets)

    def close(self) -> None:
        """End all of it; connections are reset, without a word to the far end."""
        if self.is_closed:
            return
        self.is_closed = True
        self._link.detach()
        self.reactor.forget_machine(self._end_of_round, self.stack.next_timeout)
        self.stack.cut_all()
        self._serve()

    # What goes through.

    def connect(self, target: Endpoint, dialled: Dialled) -> Callable[[], None]:
        """As `ConduitRoute.dial`, to an address."""
        return _Connecting(self, target, dialled).cancel

    def own_address(self, target: Endpoint) -> bytes:
        """The address that packets to `target` come from. Raises OSError."""
        if self.is_closed:
            raise OSError(errno.ENETDOWN, os.strerror(errno.ENETDOWN))
        own = self._addresses.get(len(target.host))
        if own is None:
            raise OSError(errno.EADDRNOTAVAIL, f"{target}: the tunnel has no address of this family")
        return own

    def open_connection(self, target: Endpoint) -> Connection:
        """A connection to an address whose SYN is on its way. Raises OSError."""
        assert isinstance(target.host, bytes)
        own = self.own_address(target)
        for _ in range(FIRST_PORT, LAST_PORT + 1):
            try:
                return self.stack.connect(Endpoint(own, next(self._ports)), target, self.reactor.now)
            except LocalError:
                continue
        raise OSError(errno.EADDRINUSE, f"no free port to reach {target} from")

    def open_socket(self, received: Received, port: int = 0) -> InnerSocket:
        """A way for datagrams, with a port of its own: this one, or with 0 any. Raises OSError."""
        for _ in range(FIRST_PORT, LAST_PORT + 1):
            chosen = port or next(self._ports)
            if chosen not in self._sockets:
                made = self._sockets[chosen] = InnerSocket(self, chosen, received)
                return made
            if port:
                break
        raise OSError(errno.EADDRINUSE, f"no free port in the tunnel: {port or 'all are taken'}")

    def forget(self, port: int) -> None:
        """A port is free again."""
        self._sockets.pop(port, None)

    def send(self, port: int, target: Endpoint, mapping: UDPMapping, payload: Buffer) -> None:
        """A datagram. Raises BadPacket for one that no packet carries."""
        own = self._addresses.get(len(target.host))
        if own is None:
            raise BadPacket("the tunnel has no address of this family")
        self.stack.outgoing.append(self.stack.udp.datagram(mapping, Endpoint(own, port), payload, self.reactor.now))

    def ping(self, target: bytes, payload: Buffer, answered: Callable[[], None]) -> None:
        """Ping a packed address; `answered` is called with the answer, if one comes."""
        own = self._addresses.get(len(target))
        if own is None or self.is_closed:
            return
        self._sequence = self._sequence + 1 & 0xFFFF
        if len(self._pings) >= REMEMBERED:
            del self._pings[next(iter(self._pings))]
        self._pings[target, self._sequence] = answered
        echo = icmp.Echo(True, os.getpid() & 0xFFFF, self._sequence, payload)
        if len(target) == 4:
            body = icmp.build_v4(echo)
            packet = ipv4.build(own, target, protocols.ICMP, len(body)) + body
        else:
            body = icmp.build_v6(own, target, echo)
            packet = ipv6.build(own, target, protocols.ICMPV6, len(body)) + body
        self.stack.outgoing.append([virtio_net.PLAIN, packet])

    # What a driver does.

    def expects(self, packet: bytes) -> bool:
        """Return True if a plain packet is for a connection or a socket here, and not for a program beside it."""
        size = len(packet)
        if size < 28:
            return False
        if packet[0] == 0x45 and not packet[6] & 0x3F and not packet[7]:
            protocol, at, key = packet[9], 20, packet[12:24]
        elif packet[0] >> 4 == 6 and size >= 48:
            protocol, at, key = packet[6], 40, packet[8:44]
        else:
            return False
        if protocol == protocols.TCP:
            return self.stack.knows(key)
        return protocol == protocols.UDP and (packet[at + 2] << 8 | packet[at + 3]) in self._sockets

    def receive(self, packets: Sequence[bytes], offset: int) -> None:
        """Take in what came out of the tunnel; the IP header of each packet is at `offset`."""
        self.heard_at = self.reactor.now
        if self._pings:
            packets = [packet for packet in packets if not self._is_pong(packet, offset)]
        receive(self.stack, packets, offset, self.reactor, _A_PACKET)
        self._serve()

    def _on_timeout(self, now: float) -> None:
        self.stack.handle_timeout(now)
        self._serve()

    def _serve(self) -> None:
        stack = self.stack
        while stack.changed:
            changed, stack.changed = stack.changed, []
            serve_changed(changed, self.reactor)
        for connection in stack.requests:
            connection.reject(reset=True)  # nobody listens here
        stack.requests.clear()
        for run in stack.udp.take_arrivals():
            inner = self._sockets.get(run.flow.target.port)
            if inner is not None:
                source = run.flow.mapping.client
                try:
                    inner.received([Datagram(source, bytes(datagram)) for datagram in run.datagrams()])
                except Exception as error:
                    self.reactor.contain(error, _A_PACKET)
        stack.udp.expired.clear()
        own = self.stack.icmp
        requests, own.echo_requests = own.echo_requests, []
        stack.outgoing += [own.echo_reply(request) for request in requests if request.dst in stack.own]

    def _end_of_round(self) -> None:
        stack = self.stack
        if stack.changed:
            self._serve()
            self.reactor.call_soon(_nothing)  # whom that concerns may have something to flush
        flush(stack, self.reactor)
        if stack.outgoing:
            packets, stack.outgoing = stack.outgoing, []
            self._link.write(packets)

    def _is_pong(self, packet: bytes, offset: int) -> bool:
        """Take an echo reply that somebody waits for. Return True if it was one."""
        size = len(packet) - offset
        if size < 28:
            return False
        first = packet[offset]
        if first == 0x45 and packet[offset + 9] == protocols.ICMP and packet[offset + 20] == 0:
            source, at = packet[offset + 12 : offset + 16], offset + 20
        elif first >> 4 == 6 and size >= 48 and packet[offset + 6] == protocols.ICMPV6 and packet[offset + 40] == 129:
            source, at = packet[offset + 8 : offset + 24], offset + 40
        else:
            return False
        _, sequence = _WRAPPED.unpack_from(packet, at + 4)
        answered = self._pings.pop((bytes(source), sequence), None)
        if answered is None:
            return False
        answered()
        return True


class InnerSocket:
    """Datagrams through the tunnel from one port, to and from anybody. As `DatagramConduit`."""

    is_resting = False

    def __init__(self, inner: InnerStack, port: int, received: Received) -> None:
        self._inner = inner
        self.port = port
        self.received = received
        self._mappings: dict[Endpoint, UDPMapping] = {}

    def send(self, target: Endpoint, payloads: Sequence[Buffer]) -> int:
        """As `DatagramConduit.send`, to an address."""
        mapping = self._mappings.get(target)
        if mapping is None:
            if len(self._mappings) >= REMEMBERED:
                self._mappings.clear()
            mapping = self._mappings[target] = UDPMapping(target, target, self._inner.reactor.now)
        dropped = 0
        for payload in payloads:
            try:
                self._inner.send(self.port, target, mapping, bytes(payload))
            except BadPacket:
                dropped += 1
        return dropped

    def close(self) -> None:
        """As `DatagramConduit.close`."""
        self._inner.forget(self.port)


class _Connecting(Contained):
    """A connection of ours until it stands: its owner meanwhile."""

    __slots__ = ("_connection", "_dialled", "_inner")

    def __init__(self, inner: InnerStack, target: Endpoint, dialled: Dialled) -> None:
        self._inner = inner
        self._dialled: Dialled | None = dialled
        self._connection: Connection | None = None
        try:
            self._connection = inner.open_connection(target)
        except OSError as error:
            number = error.errno or errno.ENETDOWN
            inner.reactor.call_soon(lambda: self._tell(None, number))
            return
        self._connection.user = self

    about = "a connection in a tunnel"

    def cut(self) -> None:
        """As `Contained.cut`."""
        self.cancel()

    def rebind(self, stream: ClientConduit) -> None:
        """As `StreamOwner.rebind`: nothing steps before a connection of ours."""

    def service(self) -> None:
        """It stands, or is over."""
        connection = self._connection
        if connection is None:
            return
        if connection.open:
            connection.user = None
            self._tell(connection, 0)
        elif connection.closed:
            self._tell(None, errno.ECONNREFUSED if connection.was_reset else errno.ETIMEDOUT)

    def cancel(self) -> None:
        """Nobody waits any more."""
        if self._dialled is not None:
            self._dialled = None
            if self._connection is not None:
                self._connection.user = None
                self._connection.abort()

    def _tell(self, conduit: Conduit | None, error: int) -> None:
        dialled, self._dialled = self._dialled, None
        if dialled is not None:
            dialled(conduit, error)


def _nothing() -> None:
    """Have another round."""
