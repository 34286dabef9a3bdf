"""UDP for old clients: SOCKS5's datagrams on the port's own UDP socket, on to wherever the dialer carries them.

Rules (RFC 1928 §7): a client's datagrams are taken as long as it holds a connection with an association, from its
address only; each of its sockets has a way out of its own; a datagram that cannot be sent now is lost.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

from tunflow.contained import Contained
from tunflow.endpoint import Endpoint, SocketAddress
from tunflow.errors import BadPacket, TunflowError
from tunflow.flow import UDP
from tunflow.inbound.flow_note import NoteFlow
from tunflow.inbound.kept_names import REASON
from tunflow.inbound.server_context import ServerContext
from tunflow.inbound.udp import UDPAssociation, datagrams_waiting, endpoint_of
from tunflow.loop.reactor import READ
from tunflow.loop.sockets import UNMARKED
from tunflow.outbound.chain import goes_direct
from tunflow.outbound.datagram_streams import DatagramStreams
from tunflow.outbound.held_association import HeldAssociation
from tunflow.protocols.codec import Datagram, DatagramCodec
from tunflow.protocols.contract import (
    Association,
    Blocked,
    DatagramConduit,
    DatagramRoute,
    DatagramWay,
    FramedDatagrams,
    Outbound,
    StandingWay,
)
from tunflow.protocols.socks.client5 import Socks5Datagrams

CLIENTS_AT_MOST = 512
WAITING = 32
"""Datagrams that wait for servers to agree to carry them."""

Reply = Callable[[Endpoint, memoryview], None]


class ClientTraffic:
    """What one client's socket sent and got, as `conduit.Carrier`."""

    __slots__ = ("_drop", "bytes_down", "bytes_up", "is_over")

    def __init__(self, drop: Callable[[], None]) -> None:
        self._drop = drop
        self.bytes_up = 0
        """As `Carrier.bytes_up`."""
        self.bytes_down = 0
        """As `Carrier.bytes_down`."""
        self.is_over = False
        """As `Carrier.is_over`."""

    def cut(self) -> None:
        """As `Carrier.cut`: what the client sends next begins anew."""
        self._drop()


class ListenDatagrams(Contained):
    """The UDP half of one port. `note` is told of each client's socket, with the target that it sent to first."""

    def __init__(
        self, shared: ServerContext, listening: socket.socket, dialer: Outbound, note: NoteFlow | None = None
    ) -> None:
        self._note = note
        self._traffic: dict[SocketAddress, ClientTraffic] = {}
        self._shared = shared
        self._socket = listening
        self._dialer = dialer
        self._codec = Socks5Datagrams()
        self._admitted: dict[bytes, int] = {}
        self._clients: OrderedDict[SocketAddress, UDPAssociation | ProxiedDatagrams] = OrderedDict()
        shared.reactor.add(listening.fileno(), READ, self._on_readable)

    def admit(self, host: bytes) -> None:
        """A client at this address has an association. Raises Blocked when it can have none."""
        self._dialer.datagrams()
        self._admitted[host] = self._admitted.get(host, 0) + 1

    def release(self, host: bytes) -> None:
        """One association less; with the last of them the client's ways out end."""
        self._admitted[host] -= 1
        if not self._admitted[host]:
            del self._admitted[host]
            for client in [client for client in self._clients if endpoint_of(client).host == host]:
                self._drop(client)

    about = "datagrams of a client"

    def cut(self) -> None:
        """What came is lost, as datagrams are."""

    def close(self) -> None:
        """End all of it."""
        for client in list(self._clients):
            self._drop(client)
        self._shared.reactor.remove(self._socket.fileno())
        self._socket.close()

    def _on_readable(self, _events: int) -> None:
        for datagram, client in datagrams_waiting(self._socket, self._shared.scratch):
            if endpoint_of(client).host not in self._admitted:
                continue
            try:
                target, payload = self._codec.open_untrusted(datagram)
            except BadPacket:
                continue
            if target in self._shared.kept:
                self._shared.log.tell(f"kept {target}", f"dropped UDP to {target}: {REASON}")
                continue
            way = self._way(client, target)
            if way is not None:
                self._shared.counters.datagram_bytes_up += len(payload)
                if (traffic := self._traffic.get(client)) is not None:
                    traffic.bytes_up += len(payload)
                way.send(target, payload)

    def _way(self, client: SocketAddress, target: Endpoint) -> UDPAssociation | ProxiedDatagrams | None:
        way = self._clients.get(client)
        if way is not None:
            self._clients.move_to_end(client)
            return way
        if len(self._clients) >= CLIENTS_AT_MOST:
            self._drop(next(iter(self._clients)))
        if not self._shared.budget.take(1):
            return None
        try:
            if goes_direct(self._dialer):
                way = UDPAssociation(self._shared, client, None, self._reply_direct)
            else:
                way = ProxiedDatagrams(self._shared, self._dialer.datagrams(), self._reply_to(client))
        except Exception as error:
            self._shared.budget.give(1)
            if not isinstance(error, OSError):
                raise
            return None
        self._clients[client] = way
        self._shared.counters.associations += 1
        if self._note is not None:
            traffic = self._traffic[client] = ClientTraffic(partial(self._drop, client))
            self._note(UDP, endpoint_of(client), traffic, target)
        return way

    def _drop(self, client: SocketAddress) -> None:
        if (traffic := self._traffic.pop(client, None)) is not None:
            traffic.is_over = True
        try:
            self._clients.pop(client).close()
        finally:
            self._shared.budget.give(1)

    def _reply_direct(self, association: UDPAssociation, source: Endpoint, payload: memoryview) -> None:
        self._reply_to(association.client)(source, payload)

    def _reply_to(self, client: SocketAddress) -> Reply:
        def reply(source: Endpoint, payload: memoryview) -> None:
            self._shared.counters.datagram_bytes_down += len(payload)
            if (traffic := self._traffic.get(client)) is not None:
                traffic.bytes_down += len(payload)
            with contextlib.suppress(OSError):
                self._socket.sendto(self._codec.seal(source, payload), client)

        return reply


class ProxiedDatagrams(Contained):
    """One client socket's datagrams through a dialer's servers. Raises OSError when no socket is left."""

    def __init__(self, shared: ServerContext, way: DatagramWay, reply: Reply) -> None:
        self._shared = shared
        self._reply = reply
        self._streams: DatagramConduit | None = None
        self._codec: DatagramCodec | None = None
        self._socket: socket.socket | None = None
        self._waiting: list[tuple[Endpoint, bytes]] = []
        self._association: HeldAssociation | None = None
        if isinstance(way, Association):
            self._association = HeldAssociation(shared.reactor, way, self._agreed, self._lost, UNMARKED)
        else:
            self._open(way)

    about = "datagrams to a client"

    def cut(self) -> None:
        """What came is lost, as datagrams are."""

    def send(self, target: Endpoint, payload: memoryview) -> None:
        """To `target`, which may be a name."""
        if self._streams is not None:
            try:
                self._streams.send(target, (payload,))
            except Blocked as blocked:
                self._shared.log.tell(f"udp {blocked}", f"UDP to {target} is refused: {blocked}")
            except (OSError, TunflowError):  # no descriptor, or a name that cannot be told: lost
                pass
            return
        if self._socket is None:
            if self._association is not None and len(self._waiting) < WAITING:
                self._waiting.append((target, bytes(payload)))
            return
        assert self._codec is not None
        with contextlib.suppress(OSError):  # a full buffer, or too long: the datagram is lost
            self._socket.send(self._codec.seal(target, payload))

    def close(self) -> None:
        """Give everything back."""
        if self._association is not None:
            self._association.close()
            self._association = None
        if self._streams is not None:
            self._streams.close()
            self._streams = None
        if self._socket is not None:
            self._shared.reactor.remove(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _agreed(self, way: StandingWay) -> None:
        """There is a way. Raises OSError."""
        self._open(way)
        waiting, self._waiting = self._waiting, []
        for target, payload in waiting:
            self.send(target, memoryview(payload))

    def _lost(self, why: str) -> None:
        self._tell(why)
        self.close()

    def _tell(self, why: str, has_brought: bool = False) -> None:
        if not has_brought:
            self._shared.log.tell(f"udp {why}", f"UDP ends: {why}")

    def _received(self, datagrams: Sequence[Datagram]) -> None:
        for source, payload in datagrams:
            self._reply(source, memoryview(payload))

    def _open(self, route: StandingWay) -> None:
        if isinstance(route, FramedDatagrams):
            shared = self._shared
            self._streams = DatagramStreams(
                shared.reactor, route, self._received, self._tell, UNMARKED, _Descriptors(shared)
            )
            return
        if not isinstance(route, DatagramRoute):
            self._streams = route.open(self._received)
            return
        address = route.addresses[0]
        self._socket = UNMARKED.open(address.family, socket.SOCK_DGRAM)
        self._codec = route.codec
        self._socket.connect(address.sockaddr)
        self._shared.reactor.add(self._socket.fileno(), READ, self._on_readable)

    def _on_readable(self, _events: int) -> None:
        if self._socket is None:  # closed in this round
            return
        codec = cast("DatagramCodec", self._codec)
        for datagram, _ in datagrams_waiting(self._socket, self._shared.scratch):
            with contextlib.suppress(BadPacket):
                self._reply(*codec.open_untrusted(datagram))


class _Descriptors:
    """Those of the port's budget. As `datagram_streams.Room`."""

    def __init__(self, shared: ServerContext) -> None:
        self._budget = shared.budget

    def claim(self) -> None:
        """As `Room.claim`."""
        if not self._budget.take(1):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    def give_back(self) -> None:
        """As `Room.give_back`."""
        self._budget.give(1)
