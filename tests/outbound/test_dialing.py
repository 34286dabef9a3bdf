"""Dialing with real sockets on loopback: what is closed, what is counted, what is told."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from cost import least
from open_files import open_files, opened_since
from tunflow.endpoint import Address
from tunflow.loop.reactor import Reactor
from tunflow.loop.sockets import UNMARKED
from tunflow.outbound.dial_asyncio import NotConnected, dial
from tunflow.outbound.dialing import Dialing
from tunflow.protocols.server_addresses import ServerAddresses


class Silent:
    """A port of loopback whose SYNs nobody answers: its backlog is full."""

    def __init__(self) -> None:
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(0)
        self.address = Address(socket.AF_INET, self.listener.getsockname())
        self.filling = [socket.socket() for _ in range(3)]
        for each in self.filling:
            each.setblocking(False)
            each.connect_ex(self.address.sockaddr)

    def close(self) -> None:
        for each in (self.listener, *self.filling):
            each.close()


class Counted:
    """Some descriptors for attempts beside the first."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.least = count

    def take(self) -> bool:
        if not self.left:
            return False
        self.left -= 1
        self.least = min(self.least, self.left)
        return True

    def give_back(self) -> None:
        self.left += 1


class World:
    def __init__(self) -> None:
        self.reactor = Reactor()
        self.silent = [Silent(), Silent()]
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.good = Address(socket.AF_INET, self.listener.getsockname())
        with socket.create_server(("127.0.0.1", 0)) as gone:
            self.refusing = Address(socket.AF_INET, gone.getsockname())
        self.outcomes: list[tuple[socket.SocketType | None, Address | None, int]] = []
        self.opened: list[socket.SocketType] = []

    def open(self, address: Address) -> socket.SocketType:
        self.opened.append(UNMARKED.open_stream(address.family))
        return self.opened[-1]

    def dial(self, *addresses: Address, **options) -> Dialing:
        return Dialing(self.reactor, addresses, self.open, lambda *told: self.outcomes.append(told), **options)

    def outcome(self, seconds: float = 60.0):
        end = time.monotonic() + seconds
        while not self.outcomes and time.monotonic() < end:
            self.reactor.run_once(0.05)
        (told,) = self.outcomes
        return told

    def open_now(self) -> int:
        return sum(each.fileno() >= 0 for each in self.opened)

    def close(self) -> None:
        for each in (*self.silent, self.listener, *self.opened, self.reactor):
            each.close()


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def test_a_silent_first_address_costs_a_quarter_of_a_second() -> None:
    def turn() -> float:
        with closing(World()) as world:
            began = time.monotonic()
            server = ServerAddresses((world.silent[0].address, world.good))
            world.dial(*server.in_order, server=server)
            sock, address, error = world.outcome()
            took = time.monotonic() - began
            assert (address, error) == (world.good, 0)
            assert sock is not None
            assert sock.getpeername() == world.good.sockaddr
            assert world.open_now() == 1, "the loser is closed"
            assert server.in_order[0] == server.best == world.good
            return took

    assert 0.2 < least(turn, 1.0) < 1.0


def test_the_best_reason_is_told_and_nothing_left(world: World) -> None:
    looked_up: list[object] = []
    server = ServerAddresses((world.refusing,), looked_up.append)
    no_family = Address(socket.AF_INET6, ("100::1", 9, 0, 0))
    world.dial(no_family, world.refusing, server=server)
    assert not world.outcomes, "not from within the constructor"
    assert world.outcome() == (None, None, errno.ECONNREFUSED)
    assert world.open_now() == 0
    assert len(looked_up) == 1


def test_attempts_beside_the_first_are_counted(world: World) -> None:
    spare = Counted(5)
    world.dial(*(each.address for each in world.silent), world.good, spare=spare)
    assert spare.left == 5, "the first is the flow's own"
    assert world.outcome()[1] == world.good
    assert (spare.least, spare.left) == (3, 5)


def test_without_a_descriptor_the_oldest_gives_way(world: World) -> None:
    spare = Counted(0)
    world.dial(*(each.address for each in world.silent), world.good, spare=spare)
    world.reactor.run_once(0.3)
    assert world.open_now() == 1
    assert world.outcome()[1] == world.good
    assert spare.left == 0


def test_what_somebody_began_goes_on(world: World) -> None:
    begun = world.open(world.good)
    begun.connect_ex(world.silent[0].address.sockaddr)
    world.reactor.add(begun.fileno(), 4, lambda _: None)
    spare = Counted(1)
    world.reactor.run_once(0)
    options = {"begun": (begun, world.reactor.now - 0.3), "spare": spare}
    world.dial(world.silent[0].address, world.good, **options)
    assert spare.left == 0, "the second is due already"
    assert world.outcome()[1] == world.good
    assert begun.fileno() < 0
    assert spare.left == 1


@pytest.mark.parametrize("after", [0.0, 0.3])
def test_cancelled_it_leaves_nothing_and_tells_nobody(world: World, after: float) -> None:
    spare = Counted(3)
    dialing = world.dial(world.silent[0].address, world.silent[1].address, spare=spare)
    world.reactor.run_once(after)
    dialing.cancel()
    dialing.cancel()
    world.reactor.run_once(0.3)
    assert (world.open_now(), spare.left, world.outcomes) == (0, 3, [])


def test_addresses_that_come_meanwhile_are_tried(world: World) -> None:
    server = ServerAddresses((world.silent[0].address,), lambda found: found([world.good]))
    world.dial(*server.in_order, server=server)
    assert world.outcome()[1] == world.good
    assert server.in_order == (world.good,)


# In asyncio.


def test_asyncio_takes_the_first_that_answers(world: World) -> None:
    def turn() -> float:
        began = time.monotonic()
        with asyncio.run(dial((world.silent[0].address, world.good), UNMARKED)) as sock:
            assert sock.getpeername() == world.good.sockaddr
        return time.monotonic() - began

    assert 0.2 < least(turn, 1.0) < 1.0


def test_asyncio_tells_why(world: World) -> None:
    with pytest.raises(NotConnected, match=os.strerror(errno.ECONNREFUSED)) as failed:
        asyncio.run(dial((world.refusing, world.silent[0].address), UNMARKED, 0.4))
    assert failed.value.errno == errno.ECONNREFUSED
    assert failed.value.errors == {world.silent[0].address: errno.ETIMEDOUT, world.refusing: errno.ECONNREFUSED}


def test_asyncio_cancelled_leaves_no_descriptor(world: World) -> None:
    async def given_up() -> None:
        before = open_files()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await dial([each.address for each in world.silent], UNMARKED)
        await asyncio.sleep(0)
        assert not opened_since(before)

    asyncio.run(given_up())
