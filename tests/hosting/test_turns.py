"""Whoever reads what is never empty lets others run."""

from __future__ import annotations

import asyncio
import socket
import time

from tunflow.endpoint import endpoint
from tunflow.hosting.outside import open_udp
from tunflow.hosting.turns import TURN
from tunflow.loop.event_loop import ReactorLoop
from tunflow.loop.reactor import Reactor
from tunflow.loop.sockets import UNMARKED


def test_a_socket_that_is_never_empty_leaves_the_loop_to_others():
    """A packet tunnel's other direction, for one: its pings and ACKs waited until the transfer had no more to say."""
    reactor = Reactor()
    datagrams = [b"x" * (100 + number % 300) for number in range(960)]  # of no size that is thinned out

    failures: list[BaseException] = []

    async def scene():
        turns = 0

        async def other():
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
            far.bind(("127.0.0.1", 0))
            session = await open_udp(endpoint(*far.getsockname()), None, UNMARKED, reactor, failures.append)
            for datagram in datagrams:
                far.sendto(datagram, ("127.0.0.1", session.local_address.port))
            beside = asyncio.ensure_future(other())
            got = []
            while len(got) < len(datagrams):
                got += await session.read_datagrams()
                began = time.monotonic()
                while time.monotonic() - began < TURN:  # what is done with them
                    pass
            assert got == datagrams
            assert turns > 20
            beside.cancel()
            session.cancel()

    with asyncio.Runner(loop_factory=lambda: ReactorLoop(reactor)) as runner:
        runner.run(scene())
    reactor.close()
