"""What becomes of flows when the network moves under them: sockets over the loopback, a stack in memory."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
from test_tcp_relay import Bench

from tunflow.dataplane import network_change
from tunflow.dataplane.tcp import keepalive


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    made.establish()
    yield made
    made.close()


def test_a_flow_on_a_path_that_is_gone_is_reset(bench: Bench) -> None:
    (path,) = network_change.paths(bench.driver)
    assert path == (socket.inet_aton("127.0.0.1"),) * 2
    assert network_change.leave(bench.driver, set()) == 0
    assert network_change.leave(bench.driver, {path}) == 1
    assert not bench.slots.relays
    assert "R" in bench.receive()[-1].flags


def test_after_sleep_the_far_side_is_probed_for_a_while(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keepalive, "PROBED_FOR", 0.01)
    (relay,) = bench.slots.relays
    sock = socket.socket(fileno=os.dup(relay.fileno()))
    network_change.doubt(bench.driver)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 1
    bench.until(lambda: sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60)
    sock.close()


def test_everything_is_reset_when_the_tunnel_goes_down(bench: Bench) -> None:
    network_change.reset_all(bench.driver)
    assert not bench.slots.relays
    assert "R" in bench.receive()[-1].flags


def test_of_the_connections_that_flows_share_those_on_it_hear_that_a_path_is_gone(bench: Bench) -> None:
    class Shared:
        def __init__(self, path: tuple[bytes, bytes] | None) -> None:
            self.path = path
            self.lost = 0

        def path_lost(self) -> None:
            self.lost += 1
            bench.reactor.shared.discard(self)

    here, there, dialling = Shared((b"here", b"far")), Shared((b"there", b"far")), Shared(None)
    bench.reactor.shared |= {here, there, dialling}
    assert network_change.paths(bench.driver) >= {here.path, there.path}
    assert network_change.leave(bench.driver, {here.path}) == 0
    assert (here.lost, there.lost, dialling.lost) == (1, 0, 0)
