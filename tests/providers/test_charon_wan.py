"""What charon sends and what comes back, while the sessions that carry it are replaced, end or cannot be opened."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from tunflow.endpoint import Buffer, Endpoint, endpoint
from tunflow.protocols.ikev2.settings import IKEv2Server
from tunflow.providers.charon_namespace import OWN, PEER
from tunflow.providers.charon_wan import CharonWan
from tunflow.providers.connections import UDPSession
from tunflow.wire import ipv4, protocols, udp


class Session(UDPSession):
    """One that says what it is told to."""

    local_address: Endpoint = endpoint("192.0.2.1", 1)
    resolved_endpoint: Endpoint = endpoint("192.0.2.2", 500)
    maximum_datagram_length = 1500

    def __init__(self) -> None:
        self.heard: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.sent: asyncio.Queue[bytes] = asyncio.Queue()
        self.is_closed = False

    async def read_datagrams(self) -> list[bytes]:
        heard = None if self.is_closed else await self.heard.get()
        if heard is None:
            raise OSError(errno.EBADF, "closed")
        return [heard]

    async def write_datagrams(self, datagrams: Sequence[Buffer]) -> None:
        for each in datagrams:
            self.sent.put_nowait(bytes(each))

    def set_read_handler(self, handler: Callable[[list[bytes]], None]) -> None:
        raise NotImplementedError

    def write_at_once(self, datagrams: Sequence[Buffer]) -> int:
        raise NotImplementedError

    def cancel(self) -> None:
        self.is_closed = True
        self.heard.put_nowait(None)


class World:
    """A server on port 500, charon's end, and the sessions that were opened."""

    def __init__(self) -> None:
        self.opened: list[Session] = []
        self.refuses = False
        self.charon, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.charon.setblocking(False)
        ours.setblocking(False)
        self.wan = CharonWan(IKEv2Server("192.0.2.2"), self.open)
        self.end = ours.detach()

    async def open(self, port: int) -> UDPSession:
        if self.refuses and port != 500:
            raise OSError(errno.ENETUNREACH, "no way")
        self.opened.append(Session())
        return self.opened[-1]

    async def heard(self) -> bytes:
        """The next datagram that charon gets."""
        async with asyncio.timeout(30):
            packet = await asyncio.get_running_loop().sock_recv(self.charon, 65536)
        return packet[ipv4.parse_untrusted(packet).header_length + udp.HEADER_SIZE :]

    def send(self, port: int, payload: bytes) -> None:
        """What charon sends to the server."""
        header = udp.build(port, port, len(payload))
        own, peer = socket.inet_aton(OWN), socket.inet_aton(PEER)
        first = ipv4.build(own, peer, protocols.UDP, len(header) + len(payload))
        self.charon.send(first + header + payload)


@asynccontextmanager
async def running() -> AsyncIterator[World]:
    world = World()
    await world.wan.open()
    world.wan.use(world.end)
    tasks = [asyncio.ensure_future(world.wan.carry_out())]
    tasks += [asyncio.ensure_future(world.wan.carry_in(port)) for port in world.wan.ports]
    try:
        yield world
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        world.wan.close()
        world.charon.close()


def test_another_network_takes_the_place_of_what_is_waited_for() -> None:
    async def main() -> None:
        async with running() as world:
            world.opened[1].heard.put_nowait(b"before")
            assert await world.heard() == b"before"
            await world.wan.open()
            assert [each.is_closed for each in world.opened] == [True, True, False, False]
            world.opened[3].heard.put_nowait(b"after")
            assert await world.heard() == b"after"
            world.send(500, b"out")
            async with asyncio.timeout(30):
                assert await world.opened[2].sent.get() == b"out"

    asyncio.run(main())


def test_a_network_without_a_way_leaves_the_old_and_nothing_open() -> None:
    async def main() -> None:
        async with running() as world:
            world.refuses = True
            with pytest.raises(OSError, match="no way"):
                await world.wan.open()
            assert [each.is_closed for each in world.opened] == [False, False, True]
            world.opened[0].heard.put_nowait(b"still")
            assert await world.heard() == b"still"

    asyncio.run(main())


def test_a_session_that_ends_by_itself_is_opened_again() -> None:
    async def main() -> None:
        async with running() as world:
            world.opened[0].cancel()
            async with asyncio.timeout(30):
                while len(world.opened) < 3:
                    await asyncio.sleep(0)
            world.opened[2].heard.put_nowait(b"again")
            assert await world.heard() == b"again"

    asyncio.run(main())


def ike(number: int, *, encapsulated: bool = False, rest: bytes = b"") -> bytes:
    """An IKE_AUTH request of that number."""
    header = bytes(range(1, 17)) + b"\x2e\x20\x23\x08" + number.to_bytes(4, "big") + bytes(4)
    return (bytes(4) if encapsulated else b"") + header + rest


def drained(session: Session) -> list[bytes]:
    return [session.sent.get_nowait() for _ in range(session.sent.qsize())]


async def sent(world: World, port: int, *datagrams: bytes) -> None:
    """Have charon send these, and wait until they have left."""
    session = world.opened[0 if port == 500 else 1]
    for each in datagrams:
        world.send(port, each)
    async with asyncio.timeout(30):
        for each in datagrams:
            assert await session.sent.get() == each


def test_what_nobody_answered_is_asked_again_at_once_on_another_network() -> None:
    """All of the last message, each part once; and nothing that is no message."""

    async def main() -> None:
        async with running() as world:
            await sent(world, 500, ike(0))
            one, two = (ike(1, encapsulated=True, rest=part) for part in (b"first", b"second"))
            await sent(world, 4500, one, two, one, two, b"\xff", b"ESP packet")
            await world.wan.open()
            assert [drained(each) for each in world.opened[2:]] == [[], [one, two]]

    asyncio.run(main())


def test_what_was_answered_is_not_asked_again() -> None:
    async def main() -> None:
        async with running() as world:
            await sent(world, 500, ike(0))
            world.opened[0].heard.put_nowait(ike(0, rest=b"answer"))
            assert await world.heard() == ike(0, rest=b"answer")
            await world.wan.open()
            assert [drained(each) for each in world.opened[2:]] == [[], []]

    asyncio.run(main())


def test_closing_closes_all() -> None:
    async def main() -> None:
        async with running() as world:
            pass
        assert all(each.is_closed for each in world.opened)
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(world.end)

    asyncio.run(main())
