"""A flow through a proxy that answers: the client's SYN waits for it, and is answered as if there were no proxy."""

from __future__ import annotations

import socket

import pytest
from test_tcp_relay import Bench

from tunflow.outbound.chain import make_outbound
from tunflow.protocols.registry import parse_server
from tunflow.wire import ipv4
from tunflow.wire.tcp import ACK, FIN, PSH, SYN, Options

YES = b"\x05\x00\x00\x01" + bytes(6)


class Proxy:
    """A driver whose dialer goes through one proxy, which is a listener that the test speaks for."""

    def __init__(self, scheme="socks5://", options="", behind=()):
        self.listener = socket.create_server(("127.0.0.1", 0))
        port = self.listener.getsockname()[1]
        links = [f"{scheme}127.0.0.1:{port}{options}", *behind]
        self.bench = Bench(make_outbound([parse_server(link) for link in links]))
        self.peer = None

    def opens(self):
        """The client's SYN goes in; the proxy's end of the connection."""
        self.bench.send(SYN, seq=0, options=Options(mss=1460, window_scale=7))
        self.listener.settimeout(60)
        self.bench.reactor.run_once(0.05)
        self.peer, _ = self.listener.accept()
        self.bench.far = self.peer

    def hears(self, size):
        return self.bench.far_reads(size)

    def silent(self):
        """Nothing for the client so far."""
        self.bench.reactor.run_once(0.02)
        return not self.bench.card.read(10)

    def close(self):
        self.listener.close()
        self.bench.close()


@pytest.fixture
def proxies():
    made = []

    def make(*arguments, **options):
        made.append(Proxy(*arguments, **options))
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()


def request_of(proxy):
    """What a SOCKS5 client says, step by step, up to its request."""
    proxy.opens()
    assert proxy.hears(3) == b"\x05\x01\x00"
    proxy.peer.sendall(b"\x05\x00")
    request = proxy.hears(10)
    assert request[:4] == b"\x05\x01\x00\x01"
    assert proxy.silent()
    return request


def test_the_syn_waits_until_the_proxy_agreed_and_bytes_behind_the_answer_are_the_flows(proxies):
    proxy = proxies()
    request_of(proxy)
    proxy.peer.sendall(YES + b"220 hello")
    bench = proxy.bench
    (answer,) = bench.receive()
    assert answer.flags == "SA"
    bench.send(ACK, seq=1, ack=1, window=512)
    (greeting,) = bench.receive()
    assert greeting.payload == b"220 hello"
    bench.send(ACK | PSH, seq=1, ack=10, payload=b"question")
    assert proxy.hears(8) == b"question"
    proxy.peer.sendall(b"answer")
    (segment,) = bench.receive()
    assert segment.payload == b"answer"
    (relay,) = bench.slots.relays
    assert relay.is_plain  # nothing is translated any more
    bench.send(ACK | FIN, seq=9, ack=16)
    assert proxy.hears(1) == b""


@pytest.mark.parametrize(
    ("code", "expected"),
    [(1, "RA"), (2, "prohibited"), (3, "net"), (4, "host"), (5, "RA"), (6, None), (7, "RA"), (8, "RA")],
)
def test_the_client_hears_what_the_proxy_heard(proxies, code, expected):
    proxy = proxies()
    request_of(proxy)
    proxy.peer.sendall(bytes((5, code, 0, 1)) + bytes(6))
    bench = proxy.bench
    bench.until(lambda: bench.context.statistics.tcp_failed)
    bench.reactor.run_once(0.01)
    packets = bench.card.read(10)
    if expected is None:
        assert not packets  # a time-out stays one
    elif expected == "RA":
        (packet,) = packets
        assert bench.client.parse(packet).flags == "RA"
    else:
        (packet,) = packets
        kind, number = packet[ipv4.HEADER_SIZE], packet[ipv4.HEADER_SIZE + 1]
        assert (kind, number) == (3, {"net": 0, "host": 1, "prohibited": 13}[expected])
    bench.until(lambda: not bench.stack.connections)
    assert not bench.slots.relays


def test_a_server_that_does_not_answer_as_such_is_told_of_once(proxies):
    proxy = proxies()
    proxy.opens()
    proxy.hears(3)
    proxy.peer.sendall(b"SSH-2.0-OpenSSH\r\n")
    bench = proxy.bench
    (answer,) = bench.receive()
    assert answer.flags == "RA"
    (line,) = bench.lines
    assert "not a SOCKS5 server" in line


def test_refused_credentials_are_told_of_without_the_password(proxies):
    proxy = proxies("socks5://me:S3CRET@")
    proxy.opens()
    assert proxy.hears(4) == b"\x05\x02\x00\x02"
    proxy.peer.sendall(b"\x05\x02")
    assert proxy.hears(11) == b"\x01\x02me\x06S3CRET"
    proxy.peer.sendall(b"\x01\x01")
    bench = proxy.bench
    bench.until(lambda: bench.context.statistics.tcp_failed)
    (line,) = bench.lines
    assert "does not accept the user name and password" in line
    assert "S3CRET" not in line


def test_a_proxy_that_hangs_up_refuses(proxies):
    proxy = proxies("http://")
    proxy.opens()
    proxy.peer.close()
    (answer,) = proxy.bench.receive()
    assert answer.flags == "RA"


def test_a_client_that_gives_up_takes_the_request_back(proxies):
    proxy = proxies("http://")
    proxy.opens()
    assert proxy.hears(8) == b"CONNECT "
    proxy.bench.send(0x04, seq=1)  # RST
    proxy.bench.until(lambda: not proxy.bench.slots.relays)
    proxy.peer.settimeout(60)
    while proxy.peer.recv(1000):
        pass


def test_optimistic_bytes_follow_the_request_and_a_refusal_resets(proxies):
    proxy = proxies("socks5://", "?optimistic=yes")
    bench = proxy.bench
    proxy.opens()
    assert proxy.hears(3) == b"\x05\x01\x00"
    assert proxy.silent()
    proxy.peer.sendall(b"\x05\x00")
    (answer,) = bench.receive()
    assert answer.flags == "SA"
    bench.send(ACK, seq=1, ack=1, window=512)
    bench.send(ACK | PSH, seq=1, ack=1, payload=b"question")
    assert proxy.hears(10 + 8)[-8:] == b"question"
    proxy.peer.sendall(b"\x05\x05\x00\x01" + bytes(6))
    bench.until(lambda: not bench.slots.relays)
    assert any("R" in bench.client.parse(packet).flags for packet in bench.card.read(10))
    assert not bench.lines  # the target refused: that is nothing to tell the user of the tunnel


def test_two_proxies_are_asked_one_after_the_other(proxies):
    proxy = proxies("http://", behind=["socks4://me@192.0.2.9:1080"])
    proxy.opens()
    asked = b"CONNECT 192.0.2.9:1080 HTTP/1.1\r\nHost: 192.0.2.9:1080\r\n\r\n"
    assert proxy.hears(len(asked)) == asked
    assert proxy.silent()
    proxy.peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    assert proxy.hears(11)[:2] == b"\x04\x01"
    assert proxy.silent()
    proxy.peer.sendall(b"\0\x5a" + bytes(6))
    (answer,) = proxy.bench.receive()
    assert answer.flags == "SA"


def test_what_socks4_has_no_words_for_is_refused_at_once(proxies):
    proxy = proxies("socks4://", behind=["socks4://[2001:db8::1]:1080"])
    proxy.bench.send(SYN, seq=0)
    (answer,) = proxy.bench.receive()
    assert answer.flags == "RA"
