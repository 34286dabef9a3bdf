"""A codec that becomes transparent in the middle of a flow: from then on the relay moves bytes as they are."""

from __future__ import annotations

import pytest
from driver_rig import LoopbackDialer
from test_tcp_relay import Bench

from tunflow.protocols.contract import Carries
from tunflow.wire.tcp import ACK, PSH


class Latecomer:
    """Turns bytes around until both directions have passed an 'x'. As `StreamCodec`."""

    established = True

    def __init__(self):
        self.up = self.down = False
        self.calls = 0

    @property
    def transparent(self):
        return self.up and self.down

    def seal(self, pieces):
        self.calls += 1
        data = b"".join(pieces)
        sealed = data if self.up else data[::-1]
        self.up = self.up or b"x" in data
        return [sealed] if sealed else []

    def open_untrusted(self, data):
        self.calls += 1
        raw = bytes(data)
        opened = raw if self.down else raw[::-1]
        self.down = self.down or b"x" in raw
        return [opened], len(data)

    def finish(self):
        return []


class ToLoopback:
    """A way out to the bench's listener, by a latecomer."""

    label = "late"
    carries = Carries.STREAMS
    wants_flow = False
    server = resolver = None

    def __init__(self, below):
        self.below = below
        self.codec = Latecomer()

    def stream(self, target, flow=None):
        return self.below.stream(target, flow).over(self.codec, "late")


@pytest.fixture
def late():
    dialer = ToLoopback(LoopbackDialer())
    bench = Bench(dialer)
    bench.establish()
    yield bench, dialer.codec
    bench.close()


def exchange(bench, seq, up, expected):
    bench.send(ACK | PSH, seq=seq, ack=1, payload=up)
    assert bench.far_reads(len(up)) == expected


def answer(bench, data, expected):
    bench.far.sendall(data)
    got = b""
    while len(got) < len(expected):
        got += b"".join(segment.payload for segment in bench.receive())
    assert got == expected


@pytest.mark.parametrize("last", ["up", "down"])
def test_it_is_left_out_once_both_directions_are_plain(late, last):
    bench, codec = late
    (relay,) = bench.slots.relays
    exchange(bench, 1, b"abc", b"cba")
    answer(bench, b"123", b"321")
    assert not relay.is_plain
    seq = 4
    if last == "down":
        exchange(bench, seq, b"abx", b"xba")
        seq += 3
        assert not relay.is_plain
    answer(bench, b"45x", b"x54")
    if last == "up":
        assert not relay.is_plain
        exchange(bench, seq, b"abx", b"xba")
        seq += 3
    assert relay.is_plain
    calls = codec.calls
    exchange(bench, seq, b"as it is", b"as it is")
    answer(bench, b"too", b"too")
    assert codec.calls == calls
