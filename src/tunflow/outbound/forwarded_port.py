"""A port of tunflow's on loopback that leads to one server by the hop below, for a program that is to reach it so.

Whoever connects reaches that server and nothing else. The end of either side ends both, when what was sent has left.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import TunflowError
from tunflow.outbound.client import StreamClient
from tunflow.outbound.forwarded_datagrams import ForwardedDatagrams
from tunflow.outbound.session_outbound import SessionPlace
from tunflow.protocols.contract import Outbound

HIGH = 256 * 1024
"""Bytes that wait for the server above which the program is not read."""
BACKLOG = 128
TRIES = 8
"""Ports that are tried: another program's UDP may have the one that is free for TCP."""


class ForwardedPort:
    """Serves until `close`, on asyncio's loop."""

    def __init__(self, place: SessionPlace, below: Outbound, server: Endpoint) -> None:
        """Listen. Raises OSError."""
        self._place = place
        self._below = below
        self._server = server
        self._connections: set[_Forwarded] = set()
        for left in range(TRIES, 0, -1):
            self._listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
            self._listener.setblocking(False)
            self.number = int(self._listener.getsockname()[1])
            try:
                self._datagrams = ForwardedDatagrams(place, below, server, self.number)
                break
            except OSError:
                self._listener.close()
                if left == 1:
                    raise
        self._task = asyncio.get_running_loop().create_task(self._serve(), name="a forwarded port")

    def close(self) -> None:
        """End it and all its connections."""
        self._task.cancel()
        self._listener.close()
        self._datagrams.close()
        for connection in tuple(self._connections):
            connection.end()

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, _ = await loop.sock_accept(self._listener)
            except OSError:  # no descriptor is left, perhaps for a moment
                await asyncio.sleep(0.1)
                continue
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            made = _Forwarded(self._place, self._below, self._server, self._connections)
            with suppress(OSError):
                await loop.connect_accepted_socket(lambda made=made: made, client)  # type: ignore[misc]


class _Forwarded(asyncio.Protocol):
    """One connection. As `asyncio.Protocol`."""

    def __init__(self, place: SessionPlace, below: Outbound, server: Endpoint, others: set[_Forwarded]) -> None:
        self._place = place
        self._below = below
        self._server = server
        self._others = others
        self._transport: asyncio.Transport | None = None
        self._client: StreamClient | None = None
        self._is_last = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As `asyncio.Protocol.connection_made`."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._others.add(self)
        try:
            route = self._below.stream(self._server)
        except TunflowError:
            self.end()
            return
        place = self._place
        self._client = StreamClient(
            place.reactor, route, self._received, self._lost, place.sockets, drained=self._drained
        )

    def data_received(self, data: bytes) -> None:
        """As `asyncio.Protocol.data_received`."""
        if self._client is not None and self._transport is not None and not self._client.closed:
            self._client.send([data])
            if self._client.unsent > HIGH:
                self._transport.pause_reading()

    def eof_received(self) -> bool:
        """As `asyncio.Protocol.eof_received`."""
        if self._client is None or not self._client.unsent:
            return False
        self._is_last = True
        return True

    def pause_writing(self) -> None:
        """As `asyncio.Protocol.pause_writing`."""
        if self._client is not None:
            self._client.hold(True)

    def resume_writing(self) -> None:
        """As `asyncio.Protocol.resume_writing`."""
        if self._client is not None:
            self._client.hold(False)

    def connection_lost(self, _error: Exception | None) -> None:
        """As `asyncio.Protocol.connection_lost`."""
        self._others.discard(self)
        if self._client is not None:
            self._client.close()

    def end(self) -> None:
        """End both sides."""
        if self._transport is not None:
            self._transport.abort()

    def _received(self, data: Buffer) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _lost(self, _why: str, _stood: bool) -> None:
        if self._transport is not None:
            self._transport.close()

    def _drained(self) -> None:
        if self._transport is None:
            return
        if self._is_last:
            self._transport.close()
        elif not self._transport.is_closing():
            self._transport.resume_reading()
