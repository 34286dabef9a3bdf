"""A packet tunnel as a way out: its near end's stack against a driver that plays the far end, in memory."""

from __future__ import annotations

import errno
import os
import socket
import time

import pytest

from tunflow.conduit import Conduit
from tunflow.dataplane.admission import Admission
from tunflow.dataplane.context import FlowContext
from tunflow.dataplane.driver import Driver
from tunflow.dns.messages import parse_query_untrusted
from tunflow.dns.replies import addresses, nothing
from tunflow.endpoint import Endpoint, endpoint
from tunflow.host.memory import memory_pair
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.containment import Containment
from tunflow.loop.reactor import Reactor
from tunflow.loop.socket_address import address_of
from tunflow.loop.sockets import UNMARKED
from tunflow.outbound import packet_tunnel
from tunflow.outbound.client import StreamClient, carrier_on
from tunflow.outbound.direct import DirectOutbound
from tunflow.outbound.inner_names import InnerNames
from tunflow.outbound.inner_stack import DeviceLink, InnerStack
from tunflow.outbound.packet_tunnel import PacketTunnelOutbound
from tunflow.protocols.contract import Carries, CodecRoute, DatagramRoute
from tunflow.protocols.socks.client5 import Socks5Datagrams
from tunflow.stack import stack
from tunflow.wire import protocols, virtio_net

OWN = (bytes((10, 9, 0, 2)), bytes.fromhex("fd09" + "0" * 26 + "02"))
FAR = endpoint("192.0.2.7", 80)
RESOLVER = bytes((192, 0, 2, 53))


class Here(DirectOutbound):
    """Whatever is asked for goes to one socket on loopback; datagrams say in SOCKS5's form for whom they are."""

    def __init__(self, tcp: Endpoint, udp: Endpoint) -> None:
        self.tcp, self.udp = tcp, udp

    def stream(self, target, flow=None):
        return CodecRoute((address_of(self.tcp),), None, "here")

    def datagrams(self):
        return DatagramRoute((address_of(self.udp),), Socks5Datagrams(), "here")


class World:
    """The near end, and a far end with a listening socket and a UDP socket behind it."""

    def __init__(self):
        self.reactor = Reactor()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.sockets = [self.listener, self.udp]
        for sock in self.sockets:
            sock.setblocking(False)
        near, far = memory_pair(1400)
        self.devices = near, far
        way = Here(endpoint(*self.listener.getsockname()), endpoint(*self.udp.getsockname()))
        self.lines = []
        log = CauseLog(self.lines.append, lambda: self.reactor.now)
        # What is pinged is the far end's own.
        self.context = FlowContext.on(self.reactor, far, log, inside=frozenset((RESOLVER,)))
        self.driver = Driver(self.context, Admission(self.context, way))
        self.inner = InnerStack(self.reactor, DeviceLink(self.reactor, near), OWN)
        self.outbound = PacketTunnelOutbound("wireguard://h:1", DirectOutbound())
        self.outbound.reactor = self.reactor

    def stands(self):
        self.outbound.stands(self.inner, InnerNames(self.inner, (bytes((192, 0, 2, 54)),), os.urandom))

    def step(self, action):
        """What a blocking call gives, or what is not None, while the loop runs."""
        end = time.monotonic() + 60
        while True:
            self.reactor.run_once(0.01)
            try:
                found = action()
            except BlockingIOError:
                found = None
            if found is not None:
                return found
            assert time.monotonic() < end, f"did not happen: {self.lines}"

    def accept(self):
        sock, _ = self.step(self.listener.accept)
        sock.setblocking(False)
        self.sockets.append(sock)
        return sock

    def close(self):
        for sock in self.sockets:
            sock.close()
        self.outbound.fell()
        self.inner.close()
        self.driver.close()
        for device in self.devices:
            device.close()
        self.reactor.close()


@pytest.fixture
def world():
    made = World()
    yield made
    made.close()


def dial(world, target):
    told = []
    route = world.outbound.stream(target)
    assert route.codec is None
    route.dial(lambda conduit, error: told.append((conduit, error)), carrier_on(world.reactor, UNMARKED))
    return told


def test_it_takes_names_streams_and_datagrams(world):
    assert world.outbound.carries == Carries.STREAMS | Carries.DATAGRAMS | Carries.NAMES


def test_a_stream_waits_until_the_tunnel_stands(world):
    told = dial(world, FAR)
    for _ in range(3):
        world.reactor.run_once(0.01)
    assert not told
    world.stands()
    far = world.accept()
    conduit, error = world.step(lambda: told[0] if told else None)
    assert (isinstance(conduit, object), error) == (True, 0)
    near: Conduit = conduit
    near.send([b"question"], world.reactor.now)
    assert world.step(lambda: far.recv(100)) == b"question"
    far.sendall(b"answer")
    assert world.step(lambda: b"".join(near.take(100)) if near.readable else None) == b"answer"
    near.close_write(world.reactor.now)
    assert world.step(lambda: far.recv(100)) == b""
    far.close()
    world.step(lambda: near.at_eof or None)


def test_a_tunnel_out_of_which_nothing_comes_is_down(world, monkeypatch):
    monkeypatch.setattr(packet_tunnel, "PATIENCE", 0.05)
    told = dial(world, FAR)
    assert world.step(lambda: told or None) == [(None, errno.ENETDOWN)]


class Broken:
    """An owner whose every call is a bug."""

    def service(self):
        raise KeyError("what nobody foresaw")


@pytest.mark.parametrize("where", [pytest.param("stack", marks=pytest.mark.interpreted), "owner"])
def test_a_bug_in_one_of_its_streams_ends_that_one(world, monkeypatch, where):
    """What comes out of a tunnel is the far end's to choose: it must not end all that is in it."""
    log = CauseLog(world.lines.append, lambda: world.reactor.now)
    world.reactor.containment = Containment(log, lambda: world.reactor.now)
    world.stands()
    streams = []
    for _ in range(2):
        told = dial(world, FAR)
        far = world.accept()
        streams.append((world.step(lambda waiting=told: waiting[0] if waiting else None)[0], far))
    (victim, far_of_victim), (well, far_of_well) = streams
    right = stack.segment_arrived

    def bad(connection, *arguments):
        if connection is victim:
            raise KeyError("what nobody foresaw")
        right(connection, *arguments)

    if where == "stack":
        monkeypatch.setattr(stack, "segment_arrived", bad)
    else:
        victim.user = Broken()
    far_of_victim.sendall(b"answer")
    far_of_well.sendall(b"answer")
    assert world.step(lambda: b"".join(well.take(100)) if well.readable else None) == b"answer"
    world.step(lambda: victim.closed or None)
    assert world.reactor.internal_errors >= 1
    assert not well.closed


def test_what_the_far_end_refuses_is_refused(world):
    world.listener.close()
    world.stands()
    told = dial(world, FAR)
    assert world.step(lambda: told or None) == [(None, errno.ECONNREFUSED)]


def test_a_family_that_the_tunnel_has_not(world):
    world.inner.close()
    near, far = memory_pair()
    world.devices += (near, far)
    world.inner = InnerStack(world.reactor, DeviceLink(world.reactor, near), OWN[:1])
    world.stands()
    told = dial(world, endpoint("2001:db8::7", 80))
    assert world.step(lambda: told or None) == [(None, errno.EADDRNOTAVAIL)]


def test_streams_of_our_own_are_sockets(world):
    world.stands()
    got, lost = [], []
    client = StreamClient(
        world.reactor, world.outbound.stream(FAR), got.append, lambda *why: lost.append(why), UNMARKED
    )
    client.send([b"question"])
    far = world.accept()
    assert world.step(lambda: far.recv(100)) == b"question"
    big = os.urandom(300_000)
    far.setblocking(True)
    far.settimeout(60)
    sent = 0
    while sent < len(big):
        far.setblocking(False)
        try:
            sent += far.send(big[sent:])
        except BlockingIOError:
            world.reactor.run_once(0.01)
    far.close()
    world.step(lambda: lost or None)
    assert b"".join(map(bytes, got)) == big
    assert lost == [("the connection was closed", True)]


def test_a_tunnel_that_falls_resets_its_streams(world):
    world.stands()
    told = dial(world, FAR)
    world.accept()
    conduit, _ = world.step(lambda: told[0] if told else None)
    world.outbound.fell()
    assert conduit.closed
    assert conduit.was_reset


def test_datagrams_to_and_from_anybody(world):
    world.stands()
    got = []
    way = world.outbound.datagrams().open(got.extend)
    assert not way.is_resting
    assert way.send(FAR, [b"one", b"two"]) == 0
    codec = Socks5Datagrams()
    heard = [world.step(lambda: world.udp.recvfrom(2000)) for _ in range(2)]
    assert [codec.open_untrusted(data) for data, _ in heard] == [(FAR, b"one"), (FAR, b"two")]
    other = endpoint("192.0.2.8", 81)
    world.udp.sendto(codec.seal(other, b"hello"), heard[0][1])
    assert world.step(lambda: got or None) == [(other, b"hello")]
    world.outbound.fell()
    assert way.is_resting
    assert way.send(FAR, [b"three"]) == 1
    way.close()


def test_names_are_looked_up_through_the_tunnel_and_remembered(world):
    world.stands()
    codec = Socks5Datagrams()
    told = dial(world, Endpoint("site.example", 80))
    kinds = []
    for _ in range(2):
        datagram, back = world.step(lambda: world.udp.recvfrom(2000))
        where, message = codec.open_untrusted(datagram)
        assert where == endpoint("192.0.2.54", 53)
        query = parse_query_untrusted(bytes(message))
        kinds.append(query.kind)
        reply = addresses(query, (FAR.host,), 60) if query.kind == 1 else nothing(query)
        world.udp.sendto(codec.seal(where, reply), back)
    assert sorted(kinds) == [1, 28]
    world.accept()
    conduit, error = world.step(lambda: told[0] if told else None)
    assert error == 0
    assert conduit.client == FAR
    assert dial(world, Endpoint("site.example", 81)) == []
    world.accept()  # nobody was asked again
    with pytest.raises(BlockingIOError):
        world.udp.recvfrom(2000)


def test_a_ping_comes_back(world):
    world.stands()
    answers = []
    world.outbound.ping(RESOLVER, b"payload", lambda: answers.append(True))
    assert world.step(lambda: answers or None) == [True]


@pytest.mark.parametrize("size", range(49))
def test_packets_that_end_early_do_no_harm_while_a_ping_is_awaited(world, size):
    world.stands()
    answers = []
    world.outbound.ping(bytes((192, 0, 2, 99)), b"unanswered", lambda: answers.append("no"))
    world.outbound.ping(RESOLVER, b"payload", lambda: answers.append(True))
    whole = bytes((0x60, 0, 0, 0, 0, 8, protocols.ICMPV6, 64)) + bytes(32) + bytes((129, 0)) + bytes(6)
    for first in (0x45, 0x60):
        world.devices[1].write([[virtio_net.PLAIN, (bytes((first,)) + whole[1:])[:size]]])
    assert world.step(lambda: answers or None) == [True]
