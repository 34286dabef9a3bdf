"""Datagrams in streams: against a server on loopback that the test speaks for."""

from __future__ import annotations

import socket
import time

import pytest
from test_udp_relay import OUTSIDE, Bench

from tunflow.endpoint import Endpoint
from tunflow.outbound import datagram_streams
from tunflow.outbound.chain import outbound_of
from tunflow.protocols.trojan.stream import TrojanFrames
from tunflow.protocols.trojan.stream import client as trojan_client
from tunflow.protocols.vless.stream import VLESSFrames

OTHER = Endpoint(OUTSIDE.host, OUTSIDE.port + 1)
USER = "01234567-89ab-cdef-0123-456789abcdef"


class Server:
    """Where streams end, and a client in front of the driver."""

    def __init__(self, link):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.streams = []
        self.bench = Bench(dialer=outbound_of([link.format(self.listener.getsockname()[1])]))

    def step(self, action):
        """What a blocking call on our side gives, while the driver runs."""
        end = time.monotonic() + 60
        while True:
            self.bench.reactor.run_once(0.01)
            try:
                return action()
            except BlockingIOError:
                assert time.monotonic() < end, "did not happen"

    def accept(self):
        stream, _ = self.step(self.listener.accept)
        stream.setblocking(False)
        self.streams.append(stream)
        return stream

    def hear(self, stream, size):
        def enough():
            if len(stream.recv(size, socket.MSG_PEEK)) < size:
                raise BlockingIOError
            return stream.recv(size)

        return self.step(enough)

    def send(self, *payloads, target=OUTSIDE):
        self.bench.send(*payloads, target=target)

    def nobody_comes(self):
        self.bench.reactor.run_once(0.01)
        with pytest.raises(BlockingIOError):
            self.listener.accept()

    def close(self):
        for sock in (self.listener, *self.streams):
            sock.close()
        self.bench.close()


@pytest.fixture
def trojan():
    made = Server("trojan://p@127.0.0.1:{}?security=none")
    yield made
    made.close()


@pytest.fixture
def vless():
    made = Server(f"vless://{USER}@127.0.0.1:{{}}")
    yield made
    made.close()


def frame(peer, payload):
    return b"".join(TrojanFrames().seal(peer, payload))


REQUEST = len(b"".join(trojan_client(OUTSIDE, "p").seal(())))


def test_datagrams_of_all_targets_share_a_stream_and_answers_come_back(trojan):
    trojan.send(b"first", b"second")
    trojan.send(b"third", target=OTHER)
    stream = trojan.accept()
    assert trojan.hear(stream, REQUEST)[58] == 3  # UDP ASSOCIATE
    wire = frame(OUTSIDE, b"first") + frame(OUTSIDE, b"second") + frame(OTHER, b"third")
    assert trojan.hear(stream, len(wire)) == wire
    answers = frame(OTHER, b"for the third") + frame(OUTSIDE, b"a") + frame(OUTSIDE, b"b") + frame(OUTSIDE, b"longer")
    stream.sendall(answers[:20])
    trojan.step(lambda: None)
    stream.sendall(answers[20:])
    got = trojan.bench.datagrams(4)
    assert got == [(OTHER, b"for the third"), (OUTSIDE, b"a"), (OUTSIDE, b"b"), (OUTSIDE, b"longer")]
    assert trojan.bench.slots.associations == 1
    trojan.nobody_comes()


def test_a_stream_that_brought_something_begins_anew_with_the_next_datagram(trojan):
    trojan.send(b"first")
    stream = trojan.accept()
    stream.sendall(frame(OUTSIDE, b"answer"))
    trojan.bench.datagrams(1)
    stream.close()
    trojan.step(lambda: None)
    trojan.nobody_comes()
    trojan.send(b"again")
    again = trojan.accept()
    assert trojan.hear(again, REQUEST + len(frame(OUTSIDE, b"again"))).endswith(b"again")
    assert trojan.bench.slots.associations == 1


def test_a_server_that_brings_nothing_is_left_in_peace_and_the_client_told(trojan):
    trojan.send(b"first")
    stream = trojan.accept()
    trojan.hear(stream, REQUEST + len(frame(OUTSIDE, b"first")))
    stream.close()
    trojan.step(lambda: None)
    trojan.send(b"second")
    ((source, message),) = trojan.bench.errors(1)
    assert source == OUTSIDE.host
    assert message.code == 3  # RFC 792: port unreachable
    trojan.nobody_comes()
    (line,) = trojan.bench.lines
    assert "UDP: the connection was closed" in line


def test_what_a_server_carries_nothing_to_is_told_at_once_and_the_rest_goes_on():
    server = Server(f"vless://{USER}@127.0.0.1:{{}}?security=tls&flow=xtls-rprx-vision")
    try:
        server.send(b"quic", target=OUTSIDE._replace(port=443))
        ((source, message),) = server.bench.errors(1)
        assert (source, message.code) == (OUTSIDE.host, 3)  # RFC 792: port unreachable
        server.nobody_comes()
        (line,) = server.bench.lines
        assert "is refused: flow=xtls-rprx-vision keeps QUIC out" in line
        server.send(b"other")
        assert server.hear(server.accept(), 3)[:2] == b"\x16\x03"  # TLS
    finally:
        server.close()


def test_a_server_that_sends_garbage_ends_the_stream(trojan):
    trojan.send(b"first")
    trojan.accept().sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    while not trojan.bench.lines:
        trojan.step(lambda: None)
    (line,) = trojan.bench.lines
    assert "UDP: address type 72 is none of" in line


def test_what_a_stream_does_not_take_is_dropped_and_not_kept(trojan):
    trojan.send(b"first")
    stream = trojan.accept()
    statistics = trojan.bench.context.statistics
    full = bytes(1400)
    deadline = time.monotonic() + 60
    while statistics.udp_dropped < 500:
        assert time.monotonic() < deadline
        trojan.send(*[full] * 50)
    sent, dropped = statistics.udp_bytes_up, statistics.udp_dropped
    trojan.send(*[full] * 50)
    assert (statistics.udp_bytes_up, statistics.udp_dropped) == (sent, dropped + 50)
    while statistics.udp_bytes_up == sent:  # it goes on once the server reads
        assert time.monotonic() < deadline
        trojan.step(lambda: stream.recv(100_000))
        trojan.send(full)


def test_each_target_has_a_stream_where_the_protocol_has_no_other_way(vless):
    vless.send(b"first")
    first = vless.accept()
    vless.send(b"second", target=OTHER)
    second = vless.accept()
    assert vless.bench.slots.associations == 2
    second.sendall(b"\0\0" + b"".join(VLESSFrames(OTHER).seal(OTHER, b"two")))
    assert vless.bench.datagrams(1) == [(OTHER, b"two")]
    first.sendall(b"\0\0" + b"".join(VLESSFrames(OUTSIDE).seal(OUTSIDE, b"one")))
    assert vless.bench.datagrams(1) == [(OUTSIDE, b"one")]
    first.close()
    vless.step(lambda: None)
    vless.step(lambda: None)
    assert vless.bench.slots.associations == 1
    for mapping in vless.bench.stack.udp.mappings():
        vless.bench.stack.udp.close(mapping)
        mapping.user.close()
    assert vless.bench.slots.associations == 0


def test_there_are_not_more_streams_than_a_socket_may_have(vless, monkeypatch):
    monkeypatch.setattr(datagram_streams, "MOST", 3)
    for number in range(5):
        vless.send(b"x", target=Endpoint(OUTSIDE.host, 1000 + number))
    streams = [vless.accept() for _ in range(5)]
    assert vless.bench.slots.associations == 3
    for stream in streams[:2]:
        while vless.step(lambda stream=stream: stream.recv(1000)):
            pass
    with pytest.raises(BlockingIOError):
        streams[2].recv(1000), streams[2].recv(1000)


def test_a_network_that_moved_gets_a_fresh_stream(trojan):
    trojan.send(b"first")
    trojan.accept()
    (mapping,) = trojan.bench.stack.udp.mappings()
    paths = mapping.user.paths()
    assert paths == {(b"\x7f\0\0\x01", b"\x7f\0\0\x01")}
    mapping.user.leave(paths)
    assert trojan.bench.slots.associations == 0
    trojan.send(b"again")
    assert trojan.hear(trojan.accept(), REQUEST + len(frame(OUTSIDE, b"again"))).endswith(b"again")
