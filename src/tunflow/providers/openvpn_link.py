"""One OpenVPN connection of a provider: a socket session, the client's machine, and the timer between them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket
from tunflow.protocols.openvpn.client import OpenVPNClient
from tunflow.protocols.openvpn.events import Ended, Event
from tunflow.providers.connections import UDPSession
from tunflow.providers.openvpn_transport import DatagramTransport, PacketTransport
from tunflow.providers.silence_watch import SilenceWatch

GOODBYE = 1.0
"""Seconds that a goodbye may take to leave: the way to the server may be gone."""


class OpenVPNLink:
    """See the module. `deliver` takes IP packets, `tell` takes events; `run` returns how it ended."""

    def __init__(
        self,
        machine: OpenVPNClient,
        transport: PacketTransport,
        deliver: Callable[[list[bytes]], object],
        tell: Callable[[Event], None],
        silence: SilenceWatch | None,
    ) -> None:
        self._machine = machine
        self._transport = transport
        self._deliver = deliver
        self._tell = tell
        self._silence = silence
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

    def send(self, packets: Sequence[Buffer]) -> Awaitable[None] | None:
        """IP packets to the server, dropped before it is connected; as `PacketTransport.send`."""
        sealed = self._machine.seal(packets, self._clock())
        if not sealed:
            return None
        if self._silence is not None:
            self._silence.sent()
        return self._transport.send(sealed)

    def answer(self, text: str) -> None:
        """What the user answers to a question inside the session."""
        self._machine.answer(text, self._clock())
        self._news.set()

    def move(self, session: UDPSession) -> None:
        """Go on from another address."""
        old, self._transport = self._transport, DatagramTransport(session)
        session.set_read_handler(self._take)
        old.close()
        self._machine.reconnect_notice(self._clock())
        self._news.set()

    @property
    def moves(self) -> bool:
        """True if it can go on from another address; what hangs on a TCP connection, a proxy's too, cannot."""
        remote = self._machine.remote
        return remote.transport == "udp" and remote.proxy is None

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
        try:
            await self._transport.read(self._take)
        except (EOFError, BadPacket) as error:
            self._end(Ended(str(error), fatal=False))

    def _take(self, datagrams: list[bytes]) -> None:
        """What the server sent."""
        if self._ended.done():
            return
        machine = self._machine
        heard_at = machine.heard_at
        packets = machine.receive_untrusted(datagrams, self._clock())
        if self._silence is not None and machine.heard_at != heard_at:
            self._silence.heard()
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
