"""A bug ends the flow that it happened in: others go on, and everything is given back."""

from __future__ import annotations

import errno
import socket

import pytest
from driver_rig import DriverRig, LoopbackDialer

from open_files import open_files, opened_since
from tunflow.dataplane.decision import Carry, Delegate
from tunflow.dataplane.tcp.relay import TCPRelay
from tunflow.dataplane.udp.relay import UDPRelay
from tunflow.endpoint import endpoint
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.containment import STORM, Containment
from tunflow.loop.sockets import SocketOptions
from tunflow.outbound.direct import DirectOutbound
from tunflow.stack import stack
from tunflow.stack.tcp.connection import Connection
from tunflow.stack.tcp.time_wait import TimeWait
from tunflow.testing.packet_script import ScriptedClient
from tunflow.wire import ipv4, protocols, udp, virtio_net
from tunflow.wire.checksum import transport_checksum
from tunflow.wire.tcp import ACK, PSH, SYN

pytestmark = pytest.mark.interpreted  # faults are put into methods, which compiled code calls directly


class Bug(Exception):
    """What nobody foresaw."""


def fails(*_, **__):
    raise Bug("with a secret")


class Bench(DriverRig):
    """Two clients to one listener; what goes wrong is told in `lines`."""

    def __init__(self, **options):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(60)
        port = self.listener.getsockname()[1]
        super().__init__(LoopbackDialer(), port, **options)
        log = CauseLog(self.lines.append, lambda: self.reactor.now)
        self.reactor.containment = Containment(log, lambda: self.reactor.now)
        self.other = ScriptedClient(self.stack, target_port=port, source_port=41000)

    def say(self, client, flags, **fields):
        self.card.write([[bytes(10), client.packet(flags, **fields)]])
        for _ in range(4):
            self.reactor.run_once(0.01)

    def hears(self, client):
        """The flags of what comes to a client."""
        port = client.source.port.to_bytes(2, "big")
        return [client.parse(packet).flags for packet in self.card.read(100) if packet[22:24] == port]

    def open(self, client):
        self.say(client, SYN, seq=0)
        self.until(lambda: "SA" in self.hears(client))
        self.say(client, ACK, seq=1, ack=1)
        far, _ = self.listener.accept()
        far.settimeout(60)
        return far

    def close(self):
        self.listener.close()
        super().close()


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("kind", "method"),
    [(TCPRelay, "_pump_up"), (Connection, "take"), (stack, "segment_arrived"), (TCPRelay, "service")],
)
def test_a_flow_ends_and_another_does_not_notice(bench, monkeypatch, kind, method):
    well = bench.open(bench.other)
    before = open_files()
    victim = bench.open(bench.client)
    its = open_files() - before
    assert len(its) == 2  # the relay's, and ours
    right = getattr(kind, method)

    def bad(self, *arguments, **options):
        connection = self.connection if kind is TCPRelay else self
        if connection.client.port != bench.other.source.port:
            raise Bug("with a secret")
        return right(self, *arguments, **options)

    monkeypatch.setattr(kind, method, bad)
    bench.say(bench.client, ACK | PSH, seq=1, ack=1, payload=b"boom")
    monkeypatch.setattr(kind, method, right)
    for _ in range(4):
        bench.reactor.run_once(0.01)
    with pytest.raises(ConnectionResetError):
        victim.recv(10)
    assert any("R" in flags for flags in bench.hears(bench.client))
    victim.close()
    assert (len(bench.slots.relays), bench.stack.connections) == (1, 1)
    assert not its & open_files()
    assert bench.stack.budget.used == 0
    bench.say(bench.other, ACK | PSH, seq=1, ack=1, payload=b"still here")
    assert well.recv(100) == b"still here"
    well.close()
    assert bench.driver.final_statistics().internal_errors == bench.reactor.internal_errors >= 1
    (line,) = bench.lines
    assert "Bug at tunflow/" in line
    assert f"{bench.client.source.port}" in line
    assert "secret" not in line


def test_the_other_packets_of_a_batch_are_taken_in(bench, monkeypatch):
    victim, well = bench.open(bench.client), bench.open(bench.other)
    right = stack.segment_arrived

    def bad(connection, *arguments):
        if connection.client.port != bench.other.source.port:
            raise Bug
        right(connection, *arguments)

    monkeypatch.setattr(stack, "segment_arrived", bad)
    batch = [client.packet(ACK | PSH, seq=1, ack=1, payload=b"data") for client in (bench.client, bench.other)]
    bench.card.write([[bytes(10), packet] for packet in batch])
    bench.run_once()
    assert well.recv(100) == b"data"
    well.close()
    victim.close()


def test_packets_that_the_stack_cannot_take_do_not_end_the_process(bench, monkeypatch):
    """However many a client sends, and though none gets on."""
    monkeypatch.setattr(TimeWait, "find", fails)
    for _ in range(2 * STORM):
        bench.send(SYN, seq=0)
        bench.reactor.run_once(0.01)
    assert bench.reactor.internal_errors == 2 * STORM
    assert len(bench.lines) == 1


def test_a_policy_that_fails_resets_its_flow():
    class Broken:
        stream = datagrams = fails

    bench = Bench(policy=Broken())
    bench.say(bench.client, SYN, seq=0)
    assert [answer.flags for answer in bench.answers()] == ["RA"]
    assert bench.stack.connections == 0
    assert f"tcp {bench.client.source} -> {bench.client.target}: Bug at" in bench.lines[0]
    bench.close()


def test_an_owner_of_somebody_elses_ends_with_its_connection():
    class Owner:
        def __init__(self, case):
            case.connection.accept(case.context.reactor.now)

        service = fails
        rebind = fails

    class Hands:
        def stream(self, case):
            return Delegate(stream=Owner)

    bench = Bench(policy=Hands())
    bench.say(bench.client, SYN, seq=0)
    assert bench.hears(bench.client) == ["SA"]
    bench.say(bench.client, ACK | PSH, seq=1, ack=1, payload=b"x")
    assert bench.stack.connections == 0
    bench.close()


@pytest.mark.parametrize("method", ["send", "_receive", "_deliver_from"])
def test_a_client_socket_is_given_up_and_may_begin_anew(monkeypatch, method):
    far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    far.bind(("127.0.0.1", 0))
    far.settimeout(60)

    class There:
        def datagrams(self, case):
            return Carry(DirectOutbound(), endpoint(*far.getsockname()))

    bench = Bench(policy=There())
    before = open_files()

    def send(payload):
        client, target = endpoint("198.18.0.1", 4000), endpoint("192.0.2.1", 443)
        body = udp.build(4000, 443, len(payload)) + payload
        checksum = transport_checksum(client.host, target.host, protocols.UDP, body) or 0xFFFF
        body = udp.build(4000, 443, len(payload), checksum=checksum) + payload
        bench.card.write([[virtio_net.PLAIN, ipv4.build(client.host, target.host, protocols.UDP, len(body)) + body]])
        for _ in range(3):
            bench.reactor.run_once(0.01)

    with monkeypatch.context() as patch:
        patch.setattr(UDPRelay, method, fails)
        send(b"one")
        if method != "send":
            _, peer = far.recvfrom(10)
            far.sendto(b"answer", peer)
            for _ in range(3):
                bench.reactor.run_once(0.01)
    assert len(bench.lines) == 1
    assert not opened_since(before)
    assert (bench.slots.associations, len(bench.stack.udp)) == (0, 0)
    send(b"two")
    assert far.recv(10) == b"two"
    far.close()
    bench.close()


def test_what_is_half_made_ends_with_its_connection(bench, monkeypatch):
    monkeypatch.setattr(SocketOptions, "open_stream", fails)
    bench.say(bench.client, SYN, seq=0)
    assert [answer.flags for answer in bench.answers()] == ["RA"]
    assert (bench.stack.connections, len(bench.slots.relays)) == (0, 0)
    assert len(bench.lines) == 1


def test_a_descriptor_shortage_is_no_bug(bench, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.EMFILE, "full")

    monkeypatch.setattr(SocketOptions, "open_stream", full)
    bench.say(bench.client, SYN, seq=0)
    assert bench.reactor.internal_errors == 0
