"""Datagrams by a SOCKS5 association: against a server on loopback that grants, refuses, and hangs up."""

from __future__ import annotations

import socket
import time

import pytest
from test_udp_relay import OUTSIDE, Bench

from tunflow.dataplane.udp.associated import WAITING, AssociatedRelay
from tunflow.outbound.chain import make_outbound
from tunflow.protocols.socks.settings import SocksServer

TARGET = b"\x01\xc0\x00\x02\x01\x27\x0f"
"""OUTSIDE as SOCKS5 writes it."""
ASSOCIATE = b"\x05\x03\x00\x01" + bytes(6)


class Server:
    """A SOCKS5 server that the test speaks for."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.relay = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.relay.bind(("127.0.0.1", 0))
        dialer = make_outbound([SocksServer("socks5", "127.0.0.1", self.listener.getsockname()[1])])
        self.bench = Bench(dialer=dialer)
        self.control = None

    def step(self, action):
        """What a blocking call on our side gives, while the driver runs."""
        end = time.monotonic() + 60
        while True:
            self.bench.reactor.run_once(0.01)
            try:
                return action()
            except BlockingIOError:
                assert time.monotonic() < end, "did not happen"

    def asked(self):
        """The next control connection, up to its request."""
        self.listener.setblocking(False)
        self.control, _ = self.step(self.listener.accept)
        self.control.setblocking(False)
        assert self.step(lambda: self.control.recv(10)) == b"\x05\x01\x00"
        self.control.sendall(b"\x05\x00")
        assert self.step(lambda: self.control.recv(100)) == ASSOCIATE

    def grants(self, host=b"\x7f\0\0\1"):
        self.control.sendall(b"\x05\x00\x00\x01" + host + self.relay.getsockname()[1].to_bytes(2, "big"))

    def hears(self):
        self.relay.setblocking(False)
        return self.step(lambda: self.relay.recvfrom(2000))

    def close(self):
        for sock in (self.listener, self.relay, self.control):
            if sock is not None:
                sock.close()
        self.bench.close()


@pytest.fixture
def server():
    made = Server()
    yield made
    made.close()


@pytest.mark.parametrize("host", [b"\x7f\0\0\1", bytes(4)], ids=["address", "its own"])
def test_datagrams_wait_for_the_association_and_answers_come_back(server, host):
    bench = server.bench
    bench.send(b"first", b"second", target=OUTSIDE)
    server.asked()
    server.grants(host)
    datagram, back = server.hears()
    assert datagram == b"\0\0\0" + TARGET + b"first"
    assert server.hears()[0] == b"\0\0\0" + TARGET + b"second"
    server.relay.sendto(b"\0\0\0" + TARGET + b"answer", back)
    assert bench.datagrams(1) == [(OUTSIDE, b"answer")]
    assert bench.slots.associations == 2  # one for the datagrams, one for the stream they hang on


# RFC 1928 §7: the association ends with its connection
def test_the_association_ends_with_its_stream_and_begins_anew(server):
    bench = server.bench
    bench.send(b"first", target=OUTSIDE)
    server.asked()
    server.grants()
    server.hears()
    server.control.close()
    (flow,) = bench.stack.udp.flows.values()
    assert isinstance(flow.user.relay, AssociatedRelay)
    server.step(lambda: None)
    server.step(lambda: None)
    assert flow.user.relay.path is None
    bench.send(b"again", target=OUTSIDE)
    server.asked()
    server.grants()
    assert server.hears()[0].endswith(b"again")
    assert bench.slots.associations == 2


def test_a_refusal_is_told_at_once_and_the_server_left_in_peace(server):
    bench = server.bench
    bench.send(b"first", target=OUTSIDE)
    server.asked()
    server.control.sendall(b"\x05\x07\x00\x01" + bytes(6))
    ((source, message),) = bench.errors(1)
    assert source == OUTSIDE.host
    assert message.code == 3  # RFC 792: port unreachable
    bench.send(b"second", target=OUTSIDE)
    assert len(bench.errors(1)) == 1
    with pytest.raises(BlockingIOError):
        server.listener.accept()
    (line,) = bench.lines
    assert "carries no UDP" in line
    assert "command not supported" in line


def test_what_waits_is_bounded(server):
    bench = server.bench
    for number in range(3 * WAITING):
        bench.send(bytes((number,)), target=OUTSIDE)
    server.asked()
    server.grants()
    assert [server.hears()[0][-1] for _ in range(WAITING)] == list(range(WAITING))


def test_a_client_that_is_gone_ends_the_stream(server):
    bench = server.bench
    bench.send(b"first", target=OUTSIDE)
    server.asked()
    server.grants()
    server.hears()
    (mapping,) = bench.stack.udp.mappings()
    mapping.user.close()
    assert server.step(lambda: server.control.recv(1)) == b""
    assert bench.slots.associations == 0
