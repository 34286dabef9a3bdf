"""A session on a stream of the loop's: what is said first, whatever comes when."""

from __future__ import annotations

import pytest

from tunflow.errors import BadPacket
from tunflow.loop.reactor import Reactor
from tunflow.outbound.carrier import MOST_UNSENT, LoopCarrier
from tunflow.protocols.contract import CodecRoute
from tunflow.protocols.transport.http2 import HTTP2Session
from tunflow.protocols.transport.http2_kinds import http_headers, judge_http

SETTINGS = b"\0\0\0\x04\0\0\0\0\0"


class Stream:
    """A stream in the test's hands."""

    path = (b"here", b"there")

    def __init__(self, _route, received, lost, opened, drained):
        self.received, self.lost, self.opened, self.drained = received, lost, opened, drained
        self.failure = None
        self.sent = bytearray()
        self.unsent = 0
        self.closed = self.is_held = False

    def hold(self, is_held):
        self.is_held = is_held

    def send(self, pieces):
        self.sent += b"".join(pieces)

    def close(self):
        self.closed = True


@pytest.fixture
def carried():
    reactor, streams = Reactor(), []

    def open_stream(*arguments):
        streams.append(Stream(*arguments))
        return streams[-1]

    session = HTTP2Session(http_headers("https", "a", "/"), judge_http)
    LoopCarrier(reactor, open_stream).carry(CodecRoute((), None, ""), session)
    yield session, streams[0], reactor
    reactor.close()


def test_what_came_with_the_end_of_the_handshake_is_answered_behind_the_preface(carried):
    session, stream, _ = carried
    stream.received(SETTINGS)  # as nginx says it, in one flight with TLS's last words
    stream.opened()
    assert stream.sent.startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert stream.sent.count(b"PRI") == 1
    assert session.stands


def test_a_full_stream_is_given_no_more_until_it_is_drained(carried):
    session, stream, reactor = carried
    stream.opened()
    opened = session.open(0.0)
    stream.unsent = MOST_UNSENT + 1
    reactor.run_once(0)
    assert opened.send_room == 0
    stream.unsent = 0
    stream.drained()
    assert opened.send_room > 0


def test_its_end_is_that_of_all_in_it(carried):
    session, stream, _ = carried
    stream.opened()
    opened = session.open(0.0)
    stream.failure = OSError(110, "timed out")
    stream.lost("timed out", True)
    assert opened.was_reset
    assert session.failure is stream.failure
    assert stream.closed


def test_what_is_no_server_of_it_ends_it(carried):
    session, stream, _ = carried
    stream.opened()
    stream.received(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 9)
    assert isinstance(session.failure, BadPacket)
    assert stream.closed


def test_a_path_that_is_gone_ends_it_and_all_in_it(carried):
    session, stream, reactor = carried
    (shared,) = reactor.shared
    assert shared.path == stream.path
    stream.opened()
    opened = session.open(0.0)
    shared.path_lost()
    assert opened.was_reset
    assert session.is_over
    assert stream.closed
    assert not reactor.shared
