"""What the datagrams of a session go by: a socket of this host, or the way of the hop below."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Sequence

from tunflow.contained import Contained
from tunflow.endpoint import Address, Buffer, Endpoint
from tunflow.errors import BadPacket, TunflowError
from tunflow.loop.datagram_batches import DatagramBatches
from tunflow.loop.path import Path, path_of
from tunflow.loop.reactor import READ, Reactor
from tunflow.loop.sockets import SocketOptions
from tunflow.outbound.datagram_streams import DatagramStreams
from tunflow.outbound.held_association import HeldAssociation
from tunflow.protocols.codec import Datagram, DatagramCodec
from tunflow.protocols.contract import (
    Association,
    DatagramConduit,
    DatagramRoute,
    FramedDatagrams,
    Outbound,
    StandingWay,
)

BATCHES = 4
"""Batches of datagrams that are read before others have their turn."""

Arrived = Callable[[Sequence[Buffer]], None]
Failed = Callable[[int], None]


class SocketWire(Contained):
    """A socket to one address. `failed` hears of what ICMP says, as an errno. Raises OSError."""

    def __init__(
        self, reactor: Reactor, address: Address, sockets: SocketOptions, arrived: Arrived, failed: Failed
    ) -> None:
        self.address = address
        self._reactor = reactor
        self._arrived = arrived
        self._failed = failed
        self._socket = sockets.open(address.family, socket.SOCK_DGRAM)
        try:
            self._socket.connect(address.sockaddr)
            self._batches = DatagramBatches(self._socket)
        except OSError:
            self._socket.close()
            raise
        reactor.add(self._socket.fileno(), READ, self._on_readable)

    about = "the datagrams of a session"

    @property
    def path(self) -> Path | None:
        """The addresses that its packets go between; None when it is not on its way."""
        return path_of(self._socket, self.address.sockaddr[0])

    def cut(self) -> None:
        """As `Contained.cut`: what came is lost, as datagrams are."""

    def send(self, datagrams: Sequence[Buffer]) -> None:
        """Send; what the socket does not take is lost."""
        try:
            self._batches.send(datagrams)
        except OSError as error:
            number = error.errno or errno.EIO
            self._reactor.call_soon(lambda: self._failed(number))

    def close(self) -> None:
        """Give the descriptor back."""
        if self._socket.fileno() >= 0:
            self._reactor.remove(self._socket.fileno())
            self._socket.close()

    def _on_readable(self, _events: int) -> None:
        try:
            for batch, _source in self._batches.receive(BATCHES):
                self._arrived(batch)
                if self._socket.fileno() < 0:
                    return
        except OSError as error:
            self._failed(error.errno or errno.EIO)


class BelowWire:
    """The way of the hop below to `server`. Raises OSError, with words."""

    path = None
    """A hop below has its own."""

    def __init__(
        self,
        reactor: Reactor,
        below: Outbound,
        server: Endpoint,
        sockets: SocketOptions,
        arrived: Arrived,
        failed: Failed,
    ) -> None:
        self._reactor = reactor
        self._server = server
        self._sockets = sockets
        self._arrived = arrived
        self._failed = failed
        self._conduit: DatagramConduit | None = None
        self._association: HeldAssociation | None = None
        try:
            way = below.datagrams()
        except TunflowError as error:
            raise OSError(errno.EOPNOTSUPP, str(error)) from error
        if isinstance(way, Association):
            self._association = HeldAssociation(reactor, way, self._use, self._lost, sockets)
        else:
            self._use(way)

    def send(self, datagrams: Sequence[Buffer]) -> None:
        """Send; what the way does not take, or not yet, is lost."""
        if self._conduit is not None:
            try:
                self._conduit.send(self._server, datagrams)
            except OSError as error:
                number = error.errno or errno.EIO
                self._reactor.call_soon(lambda: self._failed(number))

    def close(self) -> None:
        """Give everything back."""
        for each in (self._conduit, self._association):
            if each is not None:
                each.close()
        self._conduit = self._association = None

    def _use(self, way: StandingWay) -> None:
        """Raises OSError."""
        if isinstance(way, DatagramRoute):
            self._conduit = SealedSocket(self._reactor, way, self._sockets, self._heard, self._failed)
        elif isinstance(way, FramedDatagrams):
            if (why := way.refuses(self._server)) is not None:
                raise OSError(errno.EOPNOTSUPP, why)
            self._conduit = DatagramStreams(self._reactor, way, self._heard, _forget, self._sockets, UncountedRoom())
        else:
            self._conduit = way.open(self._heard)

    def _lost(self, _why: str) -> None:
        self._failed(errno.ECONNREFUSED)

    def _heard(self, datagrams: Sequence[Datagram]) -> None:
        self._arrived([each.payload for each in datagrams])


class SealedSocket:
    """Datagrams that a codec seals, on a socket to the first server. As `DatagramConduit`. Raises OSError."""

    is_resting = False

    def __init__(
        self,
        reactor: Reactor,
        route: DatagramRoute,
        sockets: SocketOptions,
        received: Callable[[Sequence[Datagram]], None],
        failed: Failed,
    ) -> None:
        assert route.codec is not None
        self._codec: DatagramCodec = route.codec
        self._received = received
        self._wire = SocketWire(reactor, route.addresses[0], sockets, self._arrived, failed)

    def send(self, target: Endpoint, payloads: Sequence[Buffer]) -> int:
        """As `DatagramConduit.send`."""
        self._wire.send([self._codec.seal(target, payload) for payload in payloads])
        return 0

    def close(self) -> None:
        """As `DatagramConduit.close`."""
        self._wire.close()

    def _arrived(self, datagrams: Sequence[Buffer]) -> None:
        opened = []
        for each in datagrams:
            try:
                opened.append(Datagram(*self._codec.open_untrusted(each)))
            except BadPacket:
                continue
        if opened:
            self._received(opened)


class UncountedRoom:
    """A session's descriptors are few and not counted."""

    def claim(self) -> None:
        """As `datagram_streams.Room`."""

    def give_back(self) -> None:
        """As `datagram_streams.Room`."""


def _forget(_why: str, _has_brought: bool) -> None:
    """The next datagram begins another stream."""
