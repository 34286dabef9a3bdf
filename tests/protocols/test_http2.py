"""Streams in HTTP/2: the session as a machine against h2 as a server, gRPC's messages, and sessions shared by flows."""

from __future__ import annotations

import errno

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, PingReceived, RequestReceived, StreamEnded, StreamReset, WindowUpdated
from h2.settings import SettingCodes, Settings

from tunflow.errors import BadPacket
from tunflow.protocols.codec import ProxyRefused
from tunflow.protocols.contract import CodecRoute
from tunflow.protocols.session_pool import SessionPool
from tunflow.protocols.shared_stream import QUEUE
from tunflow.protocols.transport.gun import GunCodec
from tunflow.protocols.transport.http2 import IDLE, MOST, PATIENCE, QUIET, WINDOW, HTTP2Session
from tunflow.protocols.transport.http2_kinds import grpc_headers, http_headers, judge_grpc, judge_http, xhttp_headers

HEADERS = grpc_headers("https", "site.example", "way", is_multi=False)


class Wire:
    """A session and h2 as its server; bytes go by `turn`."""

    def __init__(self, judge=judge_grpc) -> None:
        self.session = HTTP2Session(HEADERS, judge)
        self.server = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.server.initiate_connection()
        self.events = []
        self.now = 0.0
        self.session.connected(self.now)
        self.turn()

    def turn(self) -> None:
        """All that both sides have to say."""
        while said := self.session.outgoing(self.now):
            self.events += self.server.receive_data(said)
            self.answer()
        self.answer()

    def answer(self) -> None:
        if answer := self.server.data_to_send():
            self.session.receive_untrusted(answer, self.now)

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


def test_a_stream_both_ways_and_its_ends():
    wire = Wire()
    stream = wire.session.open(0.0)
    stream.send([b"up", b"wards"], 0.0)
    wire.turn()
    (request,) = wire.of(RequestReceived)
    assert dict(request.headers)[":path"] == "/way/Tun"
    assert dict(request.headers)[":authority"] == "site.example"
    assert b"".join(event.data for event in wire.of(DataReceived)) == b"upwards"
    wire.server.send_headers(1, [(":status", "200")])
    wire.server.send_data(1, b"downwards")
    wire.answer()
    assert wire.session.take_changed() == [stream]
    assert b"".join([*stream.take(4), *stream.take(100)]) == b"downwards"
    stream.close_write(0.0, [b"!"])
    wire.turn()
    assert wire.of(StreamEnded)
    assert not stream.at_eof
    wire.server.end_stream(1)
    wire.answer()
    assert stream.at_eof
    assert stream.closed
    assert not stream.was_reset


def test_a_server_may_send_frames_of_the_size_that_was_said():
    wire = Wire()
    stream = wire.session.open(0.0)
    wire.turn()
    wire.server.send_headers(1, [(":status", "200")])
    assert wire.server.max_outbound_frame_size == 65536
    wire.server.send_data(1, bytes(65535))
    wire.answer()
    assert stream.readable == 65535


def test_what_the_server_does_not_take_waits_and_is_bounded():
    wire = Wire()
    stream = wire.session.open(0.0)
    stream.send([bytes(QUEUE)], 0.0)
    assert stream.send_room == 0
    wire.turn()
    assert stream.unacknowledged == QUEUE - 65535  # the window that RFC 9113 begins with
    assert stream.send_room == 65535
    wire.session.block(True)
    assert stream.send_room == 0
    wire.session.block(False)
    assert wire.session.take_changed() == [stream]
    for event in wire.of(DataReceived):
        wire.server.acknowledge_received_data(event.flow_controlled_length, 1)
    wire.answer()
    wire.turn()
    assert stream.unacknowledged < QUEUE - 65535
    assert not wire.of(WindowUpdated) or stream.send_room > 65535


def test_a_stream_that_waits_for_its_window_goes_on_when_the_server_has_wider_ones():
    wire = Wire()
    stream = wire.session.open(0.0)
    stream.send([bytes(QUEUE)], 0.0)
    wire.turn()
    wire.server.increment_flow_control_window(QUEUE)  # the connection's
    wire.answer()
    assert stream.unacknowledged == QUEUE - 65535
    wire.server.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: QUEUE})  # and it counts what the owner has taken
    wire.answer()
    wire.turn()
    assert stream.unacknowledged == 0
    assert wire.session.take_changed() == [stream]


def test_what_the_owner_does_not_take_stops_the_server_and_not_its_neighbours():
    wire = Wire()
    slow, quick = wire.session.open(0.0), wire.session.open(0.0)
    wire.turn()
    for number in (1, 3):
        wire.server.send_headers(number, [(":status", "200")])
    sent = 0
    while room := min(wire.server.local_flow_control_window(1), 16384):
        wire.server.send_data(1, bytes(room))
        sent += room
        wire.answer()
    assert sent == slow.readable == WINDOW
    wire.server.send_data(3, b"quick")
    wire.answer()
    assert quick.take(10) == [b"quick"]
    assert sum(map(len, slow.take(WINDOW))) == WINDOW
    wire.turn()
    assert wire.server.local_flow_control_window(1) == WINDOW


def test_an_aborted_stream_gives_its_window_back():
    wire = Wire()
    stream = wire.session.open(0.0)
    wire.turn()
    wire.server.send_headers(1, [(":status", "200")])
    wire.server.send_data(1, bytes(16384))
    wire.answer()
    stream.abort()
    stream.abort()
    assert stream.was_reset
    wire.turn()
    assert wire.of(StreamReset)
    assert wire.session.has_room


@pytest.mark.parametrize(
    ("judge", "headers", "words"),
    [
        (judge_grpc, [(":status", "404")], "404 to the request: check serviceName"),
        (judge_grpc, [(":status", "200"), ("grpc-status", "12")], "no such gRPC service: check serviceName"),
        (judge_grpc, [(":status", "200"), ("grpc-status", "16")], "gRPC status '16'"),
        (judge_http, [(":status", "502")], "502 to the request: check path and host"),
    ],
)
def test_a_refusal_is_told_by_take(judge, headers, words):
    wire = Wire(judge)
    stream = wire.session.open(0.0)
    wire.turn()
    wire.server.send_headers(1, headers, end_stream=True)
    wire.answer()
    assert stream.readable
    with pytest.raises(ProxyRefused, match=words):
        stream.take(10)
    assert not stream.readable


def test_a_server_that_leaves_goes_on_with_what_it_has():
    wire = Wire()
    kept, refused = wire.session.open(0.0), wire.session.open(0.0)
    wire.turn()
    wire.server.send_headers(1, [(":status", "200")])
    goaway = b"\0\0\x08\x07\0\0\0\0\0\0\0\0\x01\0\0\0\0"
    said = wire.server.data_to_send() + goaway
    wire.session.receive_untrusted(said[:-5], 0.0)
    wire.session.receive_untrusted(said[-5:], 0.0)
    assert refused.was_reset
    assert not kept.closed
    assert not wire.session.has_room
    assert wire.session.open(0.0) is None
    wire.server.send_data(1, b"last", end_stream=True)
    wire.answer()
    assert kept.take(9) == [b"last"]
    assert not wire.session.is_over
    kept.close_write(0.0)
    wire.turn()
    wire.server.ping(b"12345678")
    wire.answer()
    assert wire.session.is_over


def test_what_is_no_http2_server_is_said():
    session = HTTP2Session(HEADERS, judge_grpc)
    session.connected(0.0)
    with pytest.raises(BadPacket, match="no HTTP/2 server"):
        session.receive_untrusted(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", 0.0)


def test_a_silent_server_is_asked_for_a_sign_and_given_up():
    wire = Wire()
    wire.now = QUIET
    stream = wire.session.open(wire.now)
    assert wire.session.next_timeout() == QUIET + PATIENCE
    wire.turn()
    assert wire.of(PingReceived)
    assert wire.session.next_timeout() is None  # it answered
    wire.now = 3 * QUIET
    wire.session.open(wire.now)
    wire.session.handle_timeout(wire.now + PATIENCE - 1)
    assert not wire.session.is_over
    wire.session.handle_timeout(wire.now + PATIENCE)
    assert wire.session.is_over
    assert stream.was_reset


def test_a_session_without_streams_is_closed_after_a_while():
    wire = Wire()
    stream = wire.session.open(5.0)
    assert wire.session.next_timeout() is None
    wire.now = 7.0
    wire.turn()
    wire.server.ping(b"12345678")
    wire.answer()
    stream.abort()
    assert wire.session.next_timeout() == 7.0 + IDLE
    wire.session.handle_timeout(7.0 + IDLE)
    assert wire.session.is_over


@pytest.mark.parametrize("step", [None, 1, 3])
def test_messages_of_one_field_and_of_many(step):
    codec = GunCodec()
    sealed = b"".join(codec.seal([b"hello"]))
    assert sealed == b"\0\0\0\0\x07\x0a\x05hello"
    big = bytes(range(256)) * 300
    many = b"\0\0\0\0\x06\x0a\x01a\x0a\x01b"
    data = sealed + many + b"".join(codec.seal([big]))
    out = waiting = b""
    for at in range(0, len(data), step or len(data)):
        waiting += data[at : at + (step or len(data))]
        pieces, used = codec.open_untrusted(memoryview(waiting))
        waiting = waiting[used:]
        out += b"".join(pieces)
    assert out == b"helloab" + big
    assert codec.finish() == []


@pytest.mark.parametrize(
    "data", [b"\x01\0\0\0\0", b"\0\xff\0\0\0", b"\0\0\0\0\x02\x12\0", b"\0\0\0\0\x02\x0a\x05", b"\0\0\0\0\x01\x0a"]
)
def test_messages_that_are_none(data):
    with pytest.raises(BadPacket):
        GunCodec().open_untrusted(memoryview(data))


def test_the_requests_of_each_kind():
    def path(*arguments, **more):
        return dict(grpc_headers("https", "a", *arguments, **more))[":path"]

    assert path("a b", is_multi=True) == "/a%20b/TunMulti"
    assert path("/my/own|other", is_multi=False) == "/my/own"
    assert dict(http_headers("http", "a", "/p"))[":method"] == "PUT"
    said = dict(xhttp_headers("https", "a", "/p", lambda size: b"\x01" * size))
    assert said[":path"] == "/p/"
    assert said["referer"] == "https://a/p/?x_padding=" + "X" * (100 + 257)


class Loop:
    """A carrier that carries nothing by itself."""

    def __init__(self) -> None:
        self.now = 0.0
        self.soon = []
        self.carried = []

    def call_soon(self, call) -> None:
        self.soon.append(call)

    def carry(self, _route, session) -> None:
        self.carried.append(session)

    def round(self) -> None:
        soon, self.soon = self.soon, []
        for call in soon:
            call()


def sessions() -> SessionPool[HTTP2Session]:
    return SessionPool(lambda: CodecRoute((), None, ""), lambda: HTTP2Session(HEADERS, judge_grpc))


def test_flows_share_a_session_until_it_is_full():
    loop, shared, told = Loop(), sessions(), []
    give_up = shared.dial(lambda *outcome: told.append(outcome), loop)
    for _ in range(MOST):
        shared.dial(lambda *outcome: told.append(outcome), loop)
    assert len(loop.carried) == 2
    give_up()
    assert told == []
    loop.carried[0].connected(0.0)
    assert len(told) == MOST - 1  # one has given up
    shared.dial(lambda *outcome: told.append(outcome), loop)
    assert len(told) == MOST - 1  # not from within
    loop.round()
    assert len(told) == MOST
    assert all(error == 0 for _, error in told)
    assert len(loop.carried) == 2


def test_a_lost_session_fails_its_own_and_the_next_flow_begins_another():
    loop, shared, told = Loop(), sessions(), []
    shared.dial(lambda *outcome: told.append(outcome), loop)
    refused = OSError(errno.ECONNREFUSED, "refused")
    loop.carried[0].end(refused)
    assert told == [(None, refused)]
    shared.dial(lambda *outcome: told.append(outcome), loop)
    loop.carried[1].connected(0.0)
    stream, error = told[1]
    assert error == 0
    loop.carried[1].end(BadPacket("gone"))
    assert stream.closed
    assert stream.was_reset


def test_a_server_that_takes_fewer_streams_than_were_asked_for_gets_a_second_session():
    loop, shared, told = Loop(), sessions(), []
    for _ in range(2):
        shared.dial(lambda *outcome: told.append(outcome), loop)
    server = H2Connection(H2Configuration(client_side=False))
    server.local_settings = Settings(client=False, initial_values={SettingCodes.MAX_CONCURRENT_STREAMS: 1})
    server.initiate_connection()
    first = loop.carried[0]
    waiting, first.waiting = first.waiting, []
    first.connected(0.0)
    server.receive_data(first.outgoing(0.0))
    first.receive_untrusted(server.data_to_send(), 0.0)
    for call in waiting:
        call()
    assert len(told) == 1
    assert len(loop.carried) == 2
    loop.carried[1].connected(0.0)
    assert [error for _, error in told] == [0, 0]
