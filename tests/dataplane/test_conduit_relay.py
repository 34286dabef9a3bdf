"""A client's flow joined with a stream of a session, which the test plays."""

from __future__ import annotations

import errno

import pytest
from driver_rig import DriverRig

from tunflow.endpoint import Endpoint
from tunflow.errors import BadPacket
from tunflow.outbound.direct import DirectOutbound
from tunflow.protocols.codec import ProxyRefused, Refusal
from tunflow.protocols.contract import ConduitRoute
from tunflow.protocols.socks.client5 import Socks5Client
from tunflow.wire.tcp import ACK, FIN, PSH, RST, SYN, Options


class Far:
    """A conduit with a far end in the test's hands."""

    def __init__(self):
        self.user = None
        self.incoming = []
        self.sent = bytearray()
        self.send_room = 1 << 20
        self.ended = self.fin = self.closed = self.was_reset = self.aborted = False
        self.is_refused = False
        self.unacknowledged = 0

    @property
    def readable(self):
        return sum(map(len, self.incoming))

    @property
    def at_eof(self):
        return self.ended and not self.incoming

    def take(self, limit):
        data = b"".join(self.incoming)
        self.incoming = [data[limit:]] if data[limit:] else []
        return [data[:limit]]

    def send(self, pieces, now, more=False):
        self.sent += b"".join(pieces)

    def close_write(self, now, last=()):
        self.send(last, now)
        self.fin = True

    def abort(self):
        self.aborted = self.closed = True

    def says(self, data=b"", end=False):
        self.incoming += [data] if data else []
        self.ended |= end
        self.user.service()


class Session(DirectOutbound):
    """What dials it."""

    label = "session"

    def __init__(self, codec=None):
        self.codec = codec
        self.dialled = None
        self.given_up = 0

    def stream(self, target, flow=None):
        def dial(dialled, _carrier):
            self.dialled = dialled

            def give_up():
                self.given_up += 1

            return give_up

        return ConduitRoute(dial, self.codec, self.label)


class Bench(DriverRig):
    def __init__(self, codec=None):
        self.session = Session(codec)
        super().__init__(self.session, 80)
        self.far = Far()

    def segments(self, count=1):
        found = []

        def enough():
            found.extend(self.answers())
            return len(found) >= count

        self.until(enough)
        return found

    def asks(self):
        self.send(SYN, seq=0, options=Options(mss=1460, window_scale=7))
        self.until(lambda: self.session.dialled is not None)

    def stands(self):
        self.asks()
        self.session.dialled(self.far, 0)
        (answer,) = self.segments()
        assert answer.flags == "SA"
        self.send(ACK, seq=1, ack=1, window=512)

    def far_has(self, data):
        self.until(lambda: bytes(self.far.sent) == data)


@pytest.fixture
def make_bench():
    made = []

    def make(codec=None):
        made.append(Bench(codec))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


def test_bytes_both_ways_and_each_direction_ends_for_itself(make_bench):
    bench = make_bench()
    bench.stands()
    bench.send(ACK | PSH, seq=1, ack=1, payload=b"question")
    bench.far_has(b"question")
    (relay,) = bench.slots.shared
    assert not relay.done_up
    bench.far.unacknowledged = 1
    bench.send(ACK | FIN, seq=9, ack=1, window=512)
    bench.until(lambda: bench.far.fin)
    assert not relay.done_up  # the far side has not got all of it yet
    bench.far.unacknowledged = 0
    assert relay.done_up
    bench.far.says(b"answer", end=True)
    segments = [each for each in bench.segments() if each.payload or "F" in each.flags]
    assert b"".join(each.payload for each in segments) == b"answer"
    assert any("F" in each.flags for each in segments)
    assert not bench.far.aborted
    assert relay.is_over


@pytest.mark.parametrize(
    ("error", "flags"),
    [
        (errno.ECONNREFUSED, "RA"),
        (errno.ENETDOWN, "RA"),
        (errno.ETIMEDOUT, None),
        (OSError(errno.ECONNREFUSED, "refused"), "RA"),
        (ProxyRefused(Refusal.REFUSED, ""), "RA"),
        (BadPacket("no HTTP/2 server"), "RA"),
    ],
)
def test_the_client_hears_why_there_is_no_stream(make_bench, error, flags):
    bench = make_bench()
    bench.asks()
    bench.session.dialled(None, error)
    if flags is None:
        bench.reactor.run_once(0.05)
        assert bench.answers() == []
    else:
        assert bench.segments()[0].flags == flags
    is_servers = error == errno.ENETDOWN or (not isinstance(error, int | ProxyRefused))
    assert ("session" in bench.context.servers.troubles) == is_servers


def test_a_server_that_is_heard_again_is_no_trouble(make_bench):
    bench = make_bench()
    bench.stands()
    bench.context.servers.failed("session", errno.ENETDOWN)  # of another flow, before
    bench.far.says(b"answer")
    bench.until(lambda: not bench.context.servers.troubles)


def test_a_client_that_gives_up_is_not_dialled_for(make_bench):
    bench = make_bench()
    bench.asks()
    bench.send(RST, seq=1)
    bench.until(lambda: bench.session.given_up)


def test_a_reset_on_either_side_is_one_on_the_other(make_bench):
    bench = make_bench()
    bench.stands()
    bench.send(RST, seq=1)
    bench.until(lambda: bench.far.aborted)
    assert not bench.slots.shared
    other = make_bench()
    other.stands()
    other.far.closed = other.far.was_reset = True
    other.far.says()
    assert "R" in other.segments()[-1].flags


def test_what_one_side_does_not_take_is_not_taken_from_the_other(make_bench):
    bench = make_bench()
    bench.far.send_room = 0
    bench.stands()
    bench.send(ACK | PSH, seq=1, ack=1, payload=b"question")
    for _ in range(3):
        bench.reactor.run_once(0.01)
    assert not bench.far.sent
    bench.far.send_room = 4
    bench.far.user.service()
    assert bench.far.sent.startswith(b"ques")


def test_a_server_inside_must_agree_first_and_may_refuse(make_bench):
    target = Endpoint("a.example", 80)
    bench = make_bench(Socks5Client(target))
    bench.asks()
    bench.session.dialled(bench.far, 0)
    assert bench.far.sent == b"\x05\x01\x00"
    bench.far.says(b"\x05\x00")
    assert bench.far.sent.endswith(b"\x09a.example\x00P")
    assert bench.answers() == []
    bench.far.says(b"\x05\x00\x00\x01" + bytes(6) + b"early")
    segments = bench.segments()
    assert segments[0].flags == "SA"
    bench.send(ACK, seq=1, ack=1, window=512)
    assert b"".join(each.payload for each in [*segments[1:], *bench.segments()]) == b"early"
    refused = make_bench(Socks5Client(target))
    refused.asks()
    refused.session.dialled(refused.far, 0)
    refused.far.says(b"\x05\x00")
    refused.far.says(b"\x05\x05\x00\x01" + bytes(6))
    assert refused.segments()[0].flags == "RA"
    assert refused.far.aborted
