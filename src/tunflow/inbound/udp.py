"""UDP: a socket that clients send to, and an association with its own outward socket for each client.

Rules: full cone (RFC 4787 endpoint-independent mapping and filtering): a client has one outward socket, any
target may be sent to from it and anybody may answer; who a client is says the codec (its session, which may move
from address to address), or else its address; an association ends 300 s after its last
datagram (RFC 4787 REQ-5 recommends five minutes); their number is bounded, the one unused longest goes
first; a datagram that cannot be sent now is lost, as datagrams are.
"""

from __future__ import annotations

import contextlib
import socket
from collections import OrderedDict
from collections.abc import Callable, Container, Iterator
from typing import TYPE_CHECKING

from tunflow.contained import Contained
from tunflow.endpoint import Buffer, Endpoint, SocketAddress, endpoint
from tunflow.errors import BadPacket
from tunflow.inbound.connect import OFF_LIMITS, why
from tunflow.inbound.local_addresses import V4_IN_V6
from tunflow.inbound.resolver import Addresses
from tunflow.inbound.server_context import ServerContext
from tunflow.loop.reactor import READ, Timer
from tunflow.loop.socket_address import address_of

if TYPE_CHECKING:
    from tunflow.inbound.codecs import ServerDatagramCodec
    from tunflow.protocols.shadowsocks.datagram2022 import DatagramSession

IDLE_SECONDS = 300.0

ASSOCIATIONS_AT_MOST = 4096

DATAGRAMS_PER_TURN = 64

WAITING_FOR_NAME = 64
"""Datagrams of an association that may wait for a name at once."""

RECEIVE_BUFFER = 4 << 20
"""Asked of the kernel, which grants up to net.core.rmem_max: bursts arrive while the loop serves others."""


class UDPAssociation(Contained):
    """One client address and the socket that its datagrams leave from."""

    __slots__ = ("_family", "_reply", "_shared", "_source_of", "_waiting", "client", "outward", "session", "used")

    def __init__(
        self,
        shared: ServerContext,
        client: SocketAddress,
        session: DatagramSession | None,
        reply: Callable[[UDPAssociation, Endpoint, memoryview], None],
    ) -> None:
        self._shared = shared
        self.client = client
        """Where the last datagram came from."""
        self.session = session
        self._reply = reply
        self._source_of: dict[Endpoint, Endpoint] = {}
        self._waiting = 0
        self.used = shared.reactor.now
        self.outward, self._family = outward_socket()
        shared.reactor.add(self.outward.fileno(), READ, self._on_readable)

    about = "datagrams to a client"

    def cut(self) -> None:
        """What came is lost, as datagrams are."""

    def send(self, target: Endpoint, payload: memoryview) -> None:
        """Send to `target`, whose name is resolved first if it is one."""
        shared = self._shared
        goal = shared.rewrite.get(target)
        if goal is not None:
            self._source_of[goal] = target
            self._send_to(goal, payload, ())
        else:
            self._send_to(target, payload, shared.off_limits)

    def _send_to(self, target: Endpoint, payload: memoryview, off_limits: Container[bytes]) -> None:
        host = target.host
        if isinstance(host, str):
            host = endpoint(host, target.port).host  # some clients send an address as text
        if isinstance(host, str):
            self._send_to_name(host, target.port, payload, off_limits)
        else:
            self._send_to_first((host,), target.port, payload, off_limits)

    def close(self) -> None:
        """Give the socket back."""
        self._shared.reactor.remove(self.outward.fileno())
        self.outward.close()

    def _send_to_name(self, name: str, port: int, payload: memoryview, off_limits: Container[bytes]) -> None:
        if self._waiting >= WAITING_FOR_NAME:
            return
        self._waiting += 1
        kept = bytes(payload)

        def answer(addresses: Addresses) -> None:
            self._waiting -= 1
            if addresses and self.outward.fileno() >= 0:
                self._send_to_first(addresses, port, kept, off_limits)

        self._shared.resolver.resolve(name, answer)

    def _send_to_first(self, hosts: Addresses, port: int, payload: Buffer, off_limits: Container[bytes]) -> None:
        """Send to the first address that is not off limits."""
        for host in hosts:
            if host not in off_limits:
                self._send_to_address(Endpoint(host, port), payload)
                return
        target = Endpoint(hosts[0], port)
        self._shared.log.tell("udp off limits", f"a datagram to {target} was dropped: {why(OFF_LIMITS)}")

    def _send_to_address(self, target: Endpoint, payload: Buffer) -> None:
        host = target.host
        assert isinstance(host, bytes)
        if self._family == socket.AF_INET6 and len(host) == 4:
            target = Endpoint(V4_IN_V6 + host, target.port)
        try:
            self.outward.sendto(payload, address_of(target).sockaddr)
        except BlockingIOError:
            pass
        except OSError as error:  # no route, too long, port 0: the datagram is lost
            self._shared.log.tell(f"udp {error.errno}", f"a datagram to {target} was lost: {error.strerror}")

    def _on_readable(self, _events: int) -> None:
        for datagram, sockaddr in datagrams_waiting(self.outward, self._shared.scratch):
            source = endpoint_of(sockaddr)
            self._reply(self, self._source_of.get(source, source), datagram)


class UDPListener(Contained):
    """The socket that clients send to, and their associations."""

    def __init__(self, shared: ServerContext, listening: socket.socket, codec: ServerDatagramCodec) -> None:
        self._shared = shared
        self._socket = listening
        self._codec = codec
        self._associations: OrderedDict[SocketAddress | DatagramSession, UDPAssociation] = OrderedDict()
        self._timer: Timer | None = None
        with contextlib.suppress(OSError):
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        shared.reactor.add(listening.fileno(), READ, self._on_readable)

    def __len__(self) -> int:
        return len(self._associations)

    @property
    def clients(self) -> list[SocketAddress]:
        """Their clients' addresses, the one that was idle longest first."""
        return [association.client for association in self._associations.values()]

    about = "datagrams of a client"

    def cut(self) -> None:
        """What came is lost, as datagrams are."""

    def close(self) -> None:
        """End all associations and stop listening."""
        if self._timer is not None:
            self._timer.cancel()
        while self._drop_oldest():
            pass
        self._shared.reactor.remove(self._socket.fileno())
        self._socket.close()

    def _on_readable(self, _events: int) -> None:
        for datagram, client in datagrams_waiting(self._socket, self._shared.scratch):
            try:
                session, target, payload = self._codec.open_untrusted(datagram)
            except BadPacket as error:
                self._shared.counters.refused += 1
                self._shared.log.tell(f"udp: {error}", f"{endpoint_of(client)} (UDP): {error}; dropped")
                continue
            association = self._association(client, session)
            if association is not None:
                association.send(target, payload)
            elif session is not None:
                self._codec.forget(session)

    def _association(self, client: SocketAddress, session: DatagramSession | None) -> UDPAssociation | None:
        """The association of a client, made if it has none; None when no descriptor is left."""
        associations = self._associations
        association = associations.get(session or client)
        if association is None:
            association = self._open(client, session)
            if association is None:
                return None
            associations[session or client] = association
            if self._timer is None:
                self._timer = self._shared.reactor.call_later(IDLE_SECONDS, self._sweep)
        else:
            association.client = client  # SIP022 §3.2.3: answers go where the last valid datagram came from
            self._touch(association)
        return association

    def _open(self, client: SocketAddress, session: DatagramSession | None) -> UDPAssociation | None:
        shared = self._shared
        if len(self._associations) >= ASSOCIATIONS_AT_MOST:
            self._drop_oldest()
        if not shared.budget.take(1) and not (self._drop_oldest() and shared.budget.take(1)):
            shared.log.tell("udp descriptors", "no descriptor left for a UDP client; its datagrams are dropped")
            return None
        try:
            association = UDPAssociation(shared, client, session, self._send_back)
        except Exception as error:
            shared.budget.give(1)
            if not isinstance(error, OSError):
                raise
            shared.log.tell(f"udp socket {error.errno}", f"no socket for a UDP client: {error.strerror}")
            return None
        shared.counters.associations += 1
        return association

    def _touch(self, association: UDPAssociation) -> None:
        association.used = self._shared.reactor.now
        self._associations.move_to_end(association.session or association.client)

    def _send_back(self, association: UDPAssociation, source: Endpoint, payload: memoryview) -> None:
        self._touch(association)
        with contextlib.suppress(OSError):  # a full buffer, or too long once sealed: the datagram is lost
            self._socket.sendto(self._codec.seal(association.session, source, payload), association.client)

    def _drop_oldest(self) -> bool:
        if not self._associations:
            return False
        _, association = self._associations.popitem(last=False)
        try:
            association.close()
            if association.session is not None:
                self._codec.forget(association.session)
        finally:
            self._shared.budget.give(1)
        return True

    def _sweep(self) -> None:
        """Drop what has been idle for too long; the order of use is the order of the dictionary."""
        now = self._shared.reactor.now
        self._timer = None
        while self._associations:
            oldest = next(iter(self._associations.values()))
            due = oldest.used + IDLE_SECONDS
            if due > now:
                self._timer = self._shared.reactor.call_at(due, self._sweep)
                return
            self._drop_oldest()


def datagrams_waiting(sock: socket.socket, scratch: memoryview) -> Iterator[tuple[memoryview, SocketAddress]]:
    """A turn's worth of what a socket has received, each in `scratch` until the next, and where it came from."""
    for _ in range(DATAGRAMS_PER_TURN):
        try:
            size, sender = sock.recvfrom_into(scratch)
        except BlockingIOError:
            return
        except OSError:  # what an earlier datagram met
            if sock.fileno() < 0:
                return
            continue
        yield scratch[:size], sender


def outward_socket() -> tuple[socket.socket, socket.AddressFamily]:
    """An unbound socket for targets of both families, or of IPv4 where the host has no IPv6."""
    flags = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
    try:
        both = socket.socket(socket.AF_INET6, flags)
    except OSError:
        return socket.socket(socket.AF_INET, flags), socket.AF_INET
    both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    return both, socket.AF_INET6


def endpoint_of(sockaddr: SocketAddress) -> Endpoint:
    """A socket address as an endpoint; IPv4 written as IPv6 becomes IPv4 again."""
    host, port = sockaddr[0], sockaddr[1]
    if ":" not in host:
        return Endpoint(socket.inet_aton(host), port)
    packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    return Endpoint(packed[12:] if packed.startswith(V4_IN_V6) else packed, port)
