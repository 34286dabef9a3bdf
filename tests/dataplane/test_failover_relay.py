"""Datagrams to a server with several addresses: they go where it answers, and follow it when it moves."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from test_udp_relay import METHOD, OUTSIDE, Bench

from cost import least
from one_port import sockets_at_one_port
from tunflow.dataplane.udp import failover_relay
from tunflow.endpoint import Address
from tunflow.outbound.chain import make_outbound
from tunflow.protocols.server_addresses import ServerAddresses
from tunflow.protocols.shadowsocks.datagram import Datagrams
from tunflow.protocols.shadowsocks.keys import master_key
from tunflow.protocols.shadowsocks.replay import ReplayFilter
from tunflow.protocols.shadowsocks.settings import ShadowsocksServer


class Place:
    """One address of the server, with TCP and UDP on one port."""

    def __init__(self, stream: socket.socket, datagrams: socket.socket) -> None:
        self.stream, self.datagrams = stream, datagrams
        self.address = Address(socket.AF_INET, self.stream.getsockname())
        self.datagrams.setblocking(False)
        self.filling: list[socket.socket] = []

    def fall_silent(self) -> None:
        """Nobody answers a SYN here, as behind a firewall that drops."""
        self.stream.listen(0)
        for _ in range(3):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(self.address.sockaddr)
            self.filling.append(sock)

    def heard(self) -> list[bytes]:
        found = []
        while True:
            try:
                found.append(self.datagrams.recv(2000))
            except BlockingIOError:
                return found

    def close(self) -> None:
        for each in (self.stream, self.datagrams, *self.filling):
            each.close()


class World:
    def __init__(self) -> None:
        self.first, self.second = (Place(*each) for each in sockets_at_one_port("127.0.0.2", "127.0.0.3"))
        port = self.first.address.sockaddr[1]
        self.server = ServerAddresses((self.first.address, self.second.address))
        settings = ShadowsocksServer("server.test", port, METHOD.name, "secret")
        self.bench = Bench(dialer=make_outbound([settings], lambda _host, _port: self.server))
        self.codec = Datagrams(METHOD, master_key("secret", METHOD.key_size), os.urandom, ReplayFilter())

    def until_heard(self, place: Place) -> bytes:
        end = time.monotonic() + 60
        while not (found := place.heard()):
            assert time.monotonic() < end, "nothing came"
            self.bench.reactor.run_once(0.02)
        return bytes(self.codec.open_untrusted(found[0])[1])

    def send_until_heard(self, place: Place) -> bytes:
        end = time.monotonic() + 60
        while not (found := place.heard()):
            assert time.monotonic() < end, "nothing came"
            self.bench.send(b"again", target=OUTSIDE)
            self.bench.reactor.run_once(0.02)
        return bytes(self.codec.open_untrusted(found[0])[1])

    def close(self) -> None:
        self.bench.close()
        self.first.close()
        self.second.close()


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def test_the_first_datagrams_wait_for_the_address_that_answers() -> None:
    def turn() -> float:
        with closing(World()) as world:
            world.first.fall_silent()
            began = time.monotonic()
            world.bench.send(b"hello", target=OUTSIDE)
            assert world.until_heard(world.second) == b"hello"
            took = time.monotonic() - began
            assert world.first.heard() == []
            assert len(world.bench.context.slots) == 1, "what raced is given back"
            return took

    assert least(turn, 1.0) < 1.0


def test_where_a_flow_got_through_they_go_at_once(world: World) -> None:
    world.server.worked(world.second.address)
    world.bench.send(b"hello", target=OUTSIDE)
    world.bench.reactor.run_once(0.05)
    assert world.until_heard(world.second) == b"hello"


def test_unheard_they_move_to_where_the_server_answers(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failover_relay, "UNHEARD", 0.05)
    world.server.worked(world.first.address)
    world.bench.send(b"hello", target=OUTSIDE)
    assert world.until_heard(world.first) == b"hello"
    world.first.fall_silent()
    assert world.send_until_heard(world.second) == b"again"


def test_they_follow_a_name_that_moves(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failover_relay, "UNHEARD", 0.05)
    world.server = ServerAddresses((world.first.address,), lambda found: found([world.second.address]))
    settings = ShadowsocksServer("server.test", world.first.address.sockaddr[1], METHOD.name, "secret")
    world.bench.close()
    world.bench = Bench(dialer=make_outbound([settings], lambda _host, _port: world.server))
    world.bench.send(b"hello", target=OUTSIDE)
    assert world.until_heard(world.first) == b"hello"
    world.first.close()
    assert world.send_until_heard(world.second) == b"again"


def test_a_server_without_tcp_is_tried_at_each_address(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failover_relay, "UNHEARD", 0.05)
    world.first.stream.close()
    world.second.stream.close()
    world.bench.send(b"hello", target=OUTSIDE)
    assert world.until_heard(world.first) == b"hello"
    assert world.send_until_heard(world.second) == b"again"
