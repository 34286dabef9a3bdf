"""A provider's own connections through the servers below its tunnel, for a packet tunnel that is a hop of a chain."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Sequence

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import TunflowError
from tunflow.hosting.waiting_datagrams import WaitingDatagrams
from tunflow.loop.reactor import Reactor
from tunflow.loop.sockets import SocketOptions
from tunflow.outbound.client import StreamClient
from tunflow.outbound.datagram_streams import DatagramStreams
from tunflow.outbound.held_association import HeldAssociation
from tunflow.outbound.session_wire import SealedSocket, UncountedRoom
from tunflow.protocols.codec import Datagram
from tunflow.protocols.contract import (
    Association,
    DatagramConduit,
    DatagramRoute,
    FramedDatagrams,
    Outbound,
    StandingWay,
)
from tunflow.providers.connections import TCPConnection, UDPSession

PATIENCE = 15.0
"""Seconds for the servers to agree."""

WAITING = 1024
"""Datagrams, or pieces of a stream, that wait to be read."""

UNSENT = 256 * 1024
"""Bytes under way on a stream until a write waits."""

NOWHERE = Endpoint(bytes(4), 0)
"""Our end, which only the last server knows."""


class BelowSession(UDPSession):
    """Datagrams to and from `remote` by the way of the hop below."""

    def __init__(
        self, reactor: Reactor, remote: Endpoint, sockets: SocketOptions, failed: Callable[[BaseException], None]
    ) -> None:
        self._reactor = reactor
        self._remote = remote
        self._sockets = sockets
        self._conduit: DatagramConduit | None = None
        self._association: HeldAssociation | None = None
        self._waiting = WaitingDatagrams(WAITING, failed)

    @classmethod
    async def open(
        cls,
        reactor: Reactor,
        below: Outbound,
        remote: Endpoint,
        sockets: SocketOptions,
        failed: Callable[[BaseException], None],
    ) -> BelowSession:
        """A session, once the servers agreed; `failed` hears what its handler raises. Raises OSError."""
        made = cls(reactor, remote, sockets, failed)
        try:
            way = below.datagrams()
        except TunflowError as error:
            raise OSError(errno.EOPNOTSUPP, str(error)) from error
        if isinstance(way, Association):
            await made._ask(way)
        else:
            made._use(way)
        return made

    @property
    def local_address(self) -> Endpoint:
        """Nobody here knows."""
        return NOWHERE

    @property
    def resolved_endpoint(self) -> Endpoint:
        """The far end, perhaps by a name that the last server looks up."""
        return self._remote

    @property
    def maximum_datagram_length(self) -> int:
        """What servers of every kind take."""
        return 1500

    async def read_datagrams(self) -> list[bytes]:
        """What has arrived."""
        return await self._waiting.take()

    def set_read_handler(self, handler: Callable[[list[bytes]], None]) -> None:
        """As `UDPSession.set_read_handler`."""
        self._waiting.hand_to(handler)

    async def write_datagrams(self, datagrams: Sequence[Buffer]) -> None:
        """Send; what the way does not take is lost."""
        self.write_at_once(datagrams)

    def write_at_once(self, datagrams: Sequence[Buffer]) -> int:
        """The same."""
        if self._conduit is None:
            raise OSError(errno.EBADF, "the session is closed")
        try:
            self._conduit.send(self._remote, datagrams)
        except TunflowError as error:
            raise OSError(errno.EINVAL, str(error)) from error
        return len(datagrams)

    def cancel(self) -> None:
        """Close it."""
        self._waiting.close()
        for each in (self._conduit, self._association):
            if each is not None:
                each.close()
        self._conduit = self._association = None

    def _use(self, way: StandingWay) -> None:
        """Raises OSError."""
        if isinstance(way, DatagramRoute):
            self._conduit = SealedSocket(self._reactor, way, self._sockets, self._heard, _ignore)
        elif isinstance(way, FramedDatagrams):
            self._conduit = DatagramStreams(self._reactor, way, self._heard, _forget, self._sockets, UncountedRoom())
        else:
            self._conduit = way.open(self._heard)

    async def _ask(self, association: Association) -> None:
        agreed: asyncio.Future[StandingWay] = asyncio.get_running_loop().create_future()

        def lost(why: str) -> None:
            if not agreed.done():
                agreed.set_exception(OSError(errno.ECONNREFUSED, why))
            else:
                self.cancel()

        def agree(way: StandingWay) -> None:
            if not agreed.done():
                agreed.set_result(way)

        self._association = HeldAssociation(self._reactor, association, agree, lost, self._sockets)
        try:
            async with asyncio.timeout(PATIENCE):
                self._use(await agreed)
        except (OSError, TimeoutError):
            self.cancel()
            raise

    def _heard(self, datagrams: Sequence[Datagram]) -> None:
        self._waiting.put(each.payload for each in datagrams)


class BelowConnection(TCPConnection):
    """A stream to `remote` by the way of the hop below."""

    def __init__(self, reactor: Reactor, below: Outbound, remote: Endpoint, sockets: SocketOptions) -> None:
        self._remote = remote
        self._data = bytearray()
        self._failure: OSError | None = None
        self._changed = asyncio.Event()
        self._client = StreamClient(
            reactor, below.stream(remote), self._received, self._lost, sockets, opened=self._changed.set
        )

    @classmethod
    async def open(cls, reactor: Reactor, below: Outbound, remote: Endpoint, sockets: SocketOptions) -> BelowConnection:
        """A connection, once it stands. Raises OSError."""
        try:
            made = cls(reactor, below, remote, sockets)
        except TunflowError as error:
            raise OSError(errno.EACCES, str(error)) from error
        try:
            async with asyncio.timeout(PATIENCE):
                while not made._client.established and made._failure is None:
                    made._changed.clear()
                    await made._changed.wait()
        except TimeoutError:
            made.cancel()
            raise OSError(errno.ETIMEDOUT, f"{remote}: {os.strerror(errno.ETIMEDOUT)}") from None
        if made._failure is not None:
            raise made._failure
        return made

    @property
    def local_address(self) -> Endpoint:
        """Nobody here knows."""
        return NOWHERE

    @property
    def remote_address(self) -> Endpoint:
        """The far end."""
        return self._remote

    async def read(self, most: int = 65536) -> bytes:
        """What has arrived."""
        while not self._data:
            if self._failure is not None:
                return b""
            self._changed.clear()
            await self._changed.wait()
        data = bytes(self._data[:most])
        del self._data[:most]
        return data

    async def read_exactly(self, size: int) -> bytes:
        """So many bytes."""
        got = b""
        while len(got) < size:
            piece = await self.read(size - len(got))
            if not piece:
                raise asyncio.IncompleteReadError(got, size)
            got += piece
        return got

    async def write(self, *pieces: Buffer) -> None:
        """Send."""
        if self._failure is not None:
            raise self._failure
        self._client.send([bytes(piece) for piece in pieces])
        while self._client.unsent > UNSENT and self._failure is None:
            await asyncio.sleep(0.005)

    def write_close(self) -> None:
        """Both ends: servers on the way may keep no half of a stream."""
        self.cancel()

    def cancel(self) -> None:
        """Give it up."""
        self._client.close()
        self._lost("closed", False)

    def _received(self, data: Buffer) -> None:
        self._data += data
        self._changed.set()

    def _lost(self, why: str, _stood: bool) -> None:
        self._failure = self._failure or OSError(errno.ECONNRESET, f"{self._remote}: {why}")
        self._changed.set()


def _forget(_why: str, _has_brought: bool) -> None:
    """The next datagram begins another stream."""


def _ignore(_error: int) -> None:
    """What ICMP says of a datagram ends no session."""
