"""A port on loopback that leads to one server."""

from __future__ import annotations

import errno

import pytest

from tunflow.endpoint import Endpoint
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.event_loop import ReactorLoop
from tunflow.loop.reactor import Reactor
from tunflow.loop.sockets import UNMARKED
from tunflow.outbound.direct import DirectOutbound
from tunflow.outbound.forwarded_datagrams import ForwardedDatagrams
from tunflow.outbound.forwarded_port import TRIES, ForwardedPort
from tunflow.outbound.session_outbound import SessionPlace

SERVER = Endpoint(bytes([127, 0, 0, 1]), 9)


@pytest.mark.parametrize("taken", [0, 2, TRIES])
def test_a_port_that_anothers_udp_has_is_passed_over(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    class Taken(ForwardedDatagrams):
        def __init__(self, place, below, server, port) -> None:
            tried.append(port)
            if len(tried) <= taken:
                raise OSError(errno.EADDRINUSE, "in use")
            super().__init__(place, below, server, port)

    monkeypatch.setattr("tunflow.outbound.forwarded_port.ForwardedDatagrams", Taken)
    reactor = Reactor()
    loop = ReactorLoop(reactor)
    place = SessionPlace(reactor, UNMARKED, CauseLog([].append, lambda: 0.0))

    async def number() -> int:
        port = ForwardedPort(place, DirectOutbound(), SERVER)
        port.close()
        return port.number

    try:
        if taken == TRIES:
            with pytest.raises(OSError, match="in use"):
                loop.run_until_complete(number())
        else:
            assert loop.run_until_complete(number()) == tried[taken]
    finally:
        loop.close()
        reactor.close()
