"""One OpenVPN connection of a provider: a socket session, the client's machine, and the timer between them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket
from tunflow.protocols.openvpn.client import OpenVPNClient
from tunflow.protocols.openvpn.events import Ended, Event
from tunflow.protocols.openvpn.framing import StreamFraming, framed
from tunflow.protocols.openvpn.settings import Remote
from tunflow.providers.connections import TCPConnection, UDPSession

PAUSE = 0.1
"""Seconds after an error of a UDP socket: it is about what was sent, and the next read may bring something."""

GOODBYE = 1.0
"""Seconds that a goodbye may take to leave: the way to the server may be gone."""
MOST_ADDRESSES = 8
"""Of one name."""


class Transport(Protocol):
    """Packets to and from the server."""

    async def read(self) -> list[bytes]:
        """What has arrived; empty for nothing. Raises EOFError or BadPacket when nothing will any more."""

    async def write(self, packets: Sequence[Buffer]) -> None:
        """Send; what cannot leave now is lost, as on any wire."""

    def close(self) -> None:
        """Be over."""


class DatagramTransport:
    """Over UDP."""

    def __init__(self, session: UDPSession) -> None:
        self.session = session

    async def read(self) -> list[bytes]:
        """What has arrived."""
        try:
            return await self.session.read_datagrams()
        except OSError:  # an ICMP error, or the session has just been replaced
            await asyncio.sleep(PAUSE)
            return []

    async def write(self, packets: Sequence[Buffer]) -> None:
        """Send."""
        with suppress(OSError):
            await self.session.write_datagrams(packets)

    def close(self) -> None:
        """Be over."""
        self.session.cancel()


class StreamTransport:
    """Over TCP."""

    def __init__(self, connection: TCPConnection) -> None:
        self._connection = connection
        self._framing = StreamFraming()

    async def read(self) -> list[bytes]:
        """What has arrived."""
        try:
            data = await self._connection.read()
        except OSError as error:
            raise EOFError(str(error)) from None
        if not data:
            raise EOFError("the server closed the connection")
        return self._framing.feed_untrusted(data)

    async def write(self, packets: Sequence[Buffer]) -> None:
        """Send."""
        with suppress(OSError):  # the reader hears of it too
            await self._connection.write(framed(packets))

    def close(self) -> None:
        """Be over."""
        self._connection.cancel()


class Sockets(Protocol):
    """What opens connections: a provider."""

    async def create_udp_session(self, host: str, port: int = 0) -> UDPSession:
        """See `Provider`."""

    async def create_tcp_connection(self, host: str, port: int = 0) -> TCPConnection:
        """See `Provider`."""


class OpenVPNLink:
    """See the module. `deliver` takes IP packets, `tell` takes events; `run` returns how it ended."""

    def __init__(
        self,
        machine: OpenVPNClient,
        transport: Transport,
        deliver: Callable[[list[bytes]], object],
        tell: Callable[[Event], None],
    ) -> None:
        self._machine = machine
        self._transport = transport
        self._deliver = deliver
        self._tell = tell
        self._news = asyncio.Event()
        self._ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._clock = asyncio.get_running_loop().time

    async def run(self) -> Ended:
        """Serve until it is over. Cancelled, it is over too."""
        tasks = [asyncio.ensure_future(self._receive()), asyncio.ensure_future(self._keep_time())]
        try:
            waited: list[asyncio.Future[Any]] = [*tasks, self._ended]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()  # a bug of ours is not to be hidden
            return await self._ended
        finally:
            for task in tasks:
                task.cancel()
            self._transport.close()

    async def send(self, packets: Sequence[Buffer]) -> None:
        """IP packets to the server; dropped before it is connected."""
        sealed = self._machine.seal(packets, self._clock())
        if sealed:
            await self._transport.write(sealed)

    def answer(self, text: str) -> None:
        """What the user answers to a question inside the session."""
        self._machine.answer(text, self._clock())
        self._news.set()

    def move(self, session: UDPSession) -> None:
        """Go on from another address."""
        old, self._transport = self._transport, DatagramTransport(session)
        old.close()
        self._machine.reconnect_notice(self._clock())
        self._news.set()

    @property
    def moves(self) -> bool:
        """Whether it can go on from another address."""
        return self._machine.remote.transport == "udp"

    def lose(self, reason: str) -> None:
        """The connection is of no use any more; the same server may be tried again."""
        self._end(Ended(reason, fatal=False, keeps_remote=True))

    async def close(self) -> None:
        """Say goodbye."""
        self._machine.close(self._clock())
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE):
                await self._write_output()
        self._end(Ended("closed", fatal=True))

    async def _receive(self) -> None:
        machine, clock = self._machine, self._clock
        while not self._ended.done():
            try:
                datagrams = await self._transport.read()
            except (EOFError, BadPacket) as error:
                self._end(Ended(str(error), fatal=False))
                return
            packets = machine.receive_untrusted(datagrams, clock())
            if packets:
                self._deliver(packets)
            if machine.has_news:
                self._news.set()

    async def _keep_time(self) -> None:
        machine = self._machine
        while True:
            await self._write_output()
            for event in machine.take_events():
                if isinstance(event, Ended):
                    self._end(event)
                    return
                self._tell(event)
            due = machine.next_timeout()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._news.wait()
            self._news.clear()
            now = self._clock()
            due = machine.next_timeout()
            if due is not None and now >= due:
                machine.handle_timeout(now)

    async def _write_output(self) -> None:
        output = self._machine.take_output()
        if output:
            await self._transport.write(output)

    def _end(self, event: Ended) -> None:
        if not self._ended.done():
            self._ended.set_result(event)


async def open_transport(sockets: Sockets, remote: Remote) -> Transport:
    """A way to a server. Raises OSError."""
    if remote.transport == "udp":
        return DatagramTransport(await sockets.create_udp_session(remote.host, remote.port))
    return StreamTransport(await sockets.create_tcp_connection(remote.host, remote.port))


async def resolved(remote: Remote) -> list[Remote]:
    """The same server by each of its addresses; as it was when its name is not known now.

    Names are looked up once, before the tunnel is up: later the system's resolver may be behind the tunnel that is to
    be connected again.
    """
    family = {4: socket.AF_INET, 6: socket.AF_INET6}.get(remote.version, socket.AF_UNSPEC)
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(remote.host, remote.port, family=family, type=socket.SOCK_DGRAM)
    except OSError:
        return [remote]
    addresses = dict.fromkeys(str(each[4][0]) for each in found)
    return [replace(remote, host=address) for address in list(addresses)[:MOST_ADDRESSES]]
