"""A stream by the hop below as a transport of asyncio's, for libraries that speak on one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import TunflowError
from tunflow.loop.path import Path
from tunflow.loop.reactor import Reactor
from tunflow.loop.sockets import SocketOptions
from tunflow.outbound.client import StreamClient
from tunflow.protocols.contract import Outbound

HIGH = 256 * 1024
"""Bytes that wait to be sent above which somebody is told when they have gone."""
FIRST = 1024
"""Bytes that are kept of what came first, to tell what answers."""


class BelowTransport(asyncio.Transport):
    """Dials at once; `connected` is done when `protocol` has been told that it stands, and raises OSError.

    Raises OSError for what the hop below does not carry.
    """

    def __init__(
        self,
        reactor: Reactor,
        below: Outbound,
        server: Endpoint,
        sockets: SocketOptions,
        protocol: asyncio.Protocol,
        peer: tuple[str, int],
    ) -> None:
        super().__init__({"peername": peer})
        self.connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reactor = reactor
        self._protocol = protocol
        self._drained: Callable[[], None] | None = None
        self._is_watching = False
        self.first_heard = b""
        """The first bytes that came, `FIRST` at most."""
        try:
            route = below.stream(server)
        except TunflowError as error:
            raise ConnectionRefusedError(0, str(error)) from error
        self._client = StreamClient(reactor, route, self._received, self._lost, sockets, opened=self._opened)

    def on_drained(self, call: Callable[[], None]) -> None:
        """Call when bytes that waited have gone, after there were more than `HIGH`."""
        self._drained = call

    @property
    def path(self) -> Path | None:
        """The addresses that its packets go between; None when it is not on its way."""
        return self._client.path

    # As `asyncio.Transport`.

    def write(self, data: Buffer) -> None:
        """As `asyncio.Transport.write`."""
        if not self._client.closed:
            self._client.send([bytes(data)])
            if not self._is_watching and self._client.unsent > HIGH:
                self._is_watching = True
                self._reactor.at_round_end(self._look)

    def get_write_buffer_size(self) -> int:
        """As `asyncio.Transport.get_write_buffer_size`."""
        return self._client.unsent

    def is_closing(self) -> bool:
        """As `asyncio.Transport.is_closing`."""
        return self._client.closed

    def close(self) -> None:
        """As `asyncio.Transport.close`, when what was written a moment ago has left."""
        self._reactor.call_soon(lambda: self._reactor.call_soon(self.abort))

    def abort(self) -> None:
        """As `asyncio.Transport.abort`; nobody is told."""
        self._stop_watching()
        self._client.close()
        if not self.connected.done():
            self.connected.cancel()

    # Inside.

    def _opened(self) -> None:
        if not self.connected.done():
            self.connected.set_result(None)
            self._protocol.connection_made(self)

    def _received(self, data: Buffer) -> None:
        if len(self.first_heard) < FIRST:
            self.first_heard += bytes(data[: FIRST - len(self.first_heard)])
        self._protocol.data_received(bytes(data))

    def _lost(self, why: str, _stood: bool) -> None:
        self._stop_watching()
        if not self.connected.done():
            self.connected.set_exception(ConnectionError(0, why))
        else:
            self._protocol.connection_lost(ConnectionError(0, why))

    def _look(self) -> None:
        if self._client.unsent <= HIGH // 2:
            self._stop_watching()
            if self._drained is not None:
                self._drained()

    def _stop_watching(self) -> None:
        if self._is_watching:
            self._is_watching = False
            self._reactor.forget_machine(self._look)
