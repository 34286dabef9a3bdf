"""What becomes of flows when the network moves under them: sockets over the loopback, a stack in memory."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from test_tcp_relay import Bench

from tunflow.dataplane import network_change as moving


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    made.establish()
    yield made
    made.close()


def test_a_flow_on_a_path_that_is_gone_is_reset(bench: Bench) -> None:
    (path,) = moving.paths(bench.driver)
    assert path == (socket.inet_aton("127.0.0.1"),) * 2
    assert moving.leave(bench.driver, set()) == 0
    assert moving.leave(bench.driver, {path}) == 1
    assert not bench.slots.relays
    assert "R" in bench.receive()[-1].flags


def test_after_sleep_the_far_side_is_probed_for_a_while(bench: Bench) -> None:
    (relay,) = bench.slots.relays
    moving.doubt(bench.driver)
    sock = relay._socket
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 1
    bench.reactor.now += 100
    bench.reactor._run_timers()
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60


def test_everything_is_reset_when_the_tunnel_goes_down(bench: Bench) -> None:
    moving.reset_all(bench.driver)
    assert not bench.slots.relays
    assert "R" in bench.receive()[-1].flags
