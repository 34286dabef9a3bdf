"""Two of our stacks against each other over a bad wire, doing whatever their owners think of.

The invariant: every byte arrives in order and once, or both sides hear of an error; one side's end of stream does not
stop the other's; buffers keep their bounds; and when the owners are done, everything ends.
"""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pair_rig import Flow, Rig

from tunflow.endpoint import endpoint
from tunflow.stack.tcp.closing import KEEPALIVE_IDLE
from tunflow.testing.link import Bursts, Conditions
from tunflow.testing.owner import Owner
from tunflow.testing.stream import Stream

GOOD = Conditions(delay=0.01)
WEATHER = [
    GOOD,
    Conditions(),
    Conditions(delay=0.02, loss=0.05),
    Conditions(delay=0.01, loss=0.2),
    Conditions(delay=0.01, bursts=Bursts(begin=0.02, end=0.2)),
    Conditions(delay=0.01, reorder=0.2),
    Conditions(delay=0.05, jitter=0.05, duplicate=0.2),
    Conditions(delay=0.01, corrupt=0.1),
    Conditions(delay=0.01, rate=2e6, buffer=20_000),
    Conditions(delay=0.2, loss=0.02, corrupt=0.02, duplicate=0.02, reorder=0.05, jitter=0.01),
]
ENDING = KEEPALIVE_IDLE + 3600.0
"""Seconds within which everything is over once the owners are done. One who only listens may need a keep-alive to find
out that the peer is gone, if its reset was lost."""

FLOWS = 4
side = st.integers(0, 1)
flow = st.integers(0, FLOWS - 1)
conditions = st.sampled_from(WEATHER) | st.builds(
    Conditions,
    loss=st.sampled_from([0, 0, 0.02, 0.1]),
    corrupt=st.sampled_from([0, 0, 0.05]),
    duplicate=st.sampled_from([0, 0, 0.1, 1.0]),
    reorder=st.sampled_from([0, 0, 0.02, 0.3]),
    overtaken_for=st.sampled_from([0.0005, 0.01, 0.3]),
    delay=st.sampled_from([0, 0.01, 0.3]),
    jitter=st.sampled_from([0, 0.005]),
    rate=st.sampled_from([1e6, 1e8, math.inf]),
    buffer=st.sampled_from([3000, 50_000, math.inf]),
)
operation = st.one_of(
    st.tuples(st.just("connect"), side, st.sampled_from(["accept", "accept", "hold", "refuse"])),
    st.tuples(st.just("decide"), flow, st.sampled_from(["accept", "refuse"])),
    st.tuples(st.just("send"), flow, side, st.sampled_from([1, 100, 1460, 20_000, 300_000, 1_000_000])),
    st.tuples(st.just("send"), flow, side, st.integers(1, 5000)),
    st.tuples(st.just("take"), flow, side, st.sampled_from([0, 1, 1000, 100_000])),
    st.tuples(st.just("close"), flow, side),
    st.tuples(st.just("abort"), flow, side),
    st.tuples(st.just("wire"), side, conditions),
    st.tuples(st.just("wait"), st.sampled_from([0.001, 0.015, 0.05, 0.3, 5.0])),
)
operations = st.lists(operation, min_size=5, max_size=40)


class Story:
    """The operations, one method for each."""

    def __init__(self, seed: int, version: int) -> None:
        self.rig = Rig(GOOD, seed=seed, version=version)
        self.aborted: set[Owner] = set()
        self.wire_was_bad = False

    def owner(self, number: int, which: int) -> Owner | None:
        flow = self.rig.flows[number % len(self.rig.flows)]
        return flow.opener if which == 0 else flow.answerer

    def connect(self, which: int, fate: str) -> None:
        if len(self.rig.flows) < FLOWS:
            self.rig.connect(which, fate)

    def decide(self, number: int, fate: str) -> None:
        self.rig.decide(self.rig.flows[number % len(self.rig.flows)], fate)

    def send(self, number: int, which: int, size: int) -> None:
        owner = self.owner(number, which)
        if owner is not None and not owner.closes:
            self.rig.transfer(owner, size)

    def take(self, number: int, which: int, size: int) -> None:
        owner = self.owner(number, which)
        if owner is not None:
            owner.will_take = size
            self.rig.serve(owner)

    def close(self, number: int, which: int) -> None:
        owner = self.owner(number, which)
        if owner is not None:
            self.rig.close(owner)

    def abort(self, number: int, which: int) -> None:
        owner = self.owner(number, which)
        if owner is not None and not owner.connection.closed and not owner.left:
            self.aborted.add(owner)
            owner.abort()
            self.rig.pair.settle()

    def wire(self, which: int, conditions: Conditions) -> None:
        self.wire_was_bad |= conditions not in (GOOD, Conditions())
        (self.rig.pair.there, self.rig.pair.back)[which].conditions = conditions

    def wait(self, seconds: float) -> None:
        self.rig.pair.wait(seconds)

    def finish(self) -> None:
        """Every owner reads all there is and closes; the weather clears up."""
        self.rig.pair.there.conditions = self.rig.pair.back.conditions = GOOD
        for flow in self.rig.flows:
            if flow.fate == "hold":
                flow.fate = "accept"
                self.rig.decide(flow, "accept")
        assert self.rig.pair.run(self.everyone_closes, ENDING), [
            [(owner.connection.state.name, owner.queued, owner.received) for owner in flow.owners]
            for flow in self.rig.flows
        ]

    def everyone_closes(self) -> bool:
        for flow in self.rig.flows:
            for owner in flow.owners:
                if not owner.closes:
                    owner.will_take = math.inf
                    self.rig.close(owner)
                elif owner.will_take != math.inf:
                    owner.will_take = math.inf
                    self.rig.serve(owner)
        return self.rig.at_rest

    def check(self) -> None:
        for flow in self.rig.flows:
            for owner in flow.owners:
                check_bounds(owner)

    def check_end(self) -> None:
        for flow in self.rig.flows:
            for owner, peer in ((flow.opener, flow.answerer), (flow.answerer, flow.opener)):
                if owner is not None and owner not in self.aborted:
                    self.check_outcome(flow, owner, peer)

    def check_outcome(self, flow: Flow, owner: Owner, peer: Owner | None) -> None:
        assert owner.saw_end or owner.was_reset, "the connection ended and its owner was not told how"
        if owner.saw_end:
            assert peer is not None
            assert owner.received == peer.queued
            assert peer.closes
            assert not peer.to_send
        disturbed = self.wire_was_bad or flow.refused or peer in self.aborted
        assert not owner.was_reset or disturbed, "an error without a cause"
        if not owner.was_reset and peer not in self.aborted:
            assert peer is not None
            assert peer.received == owner.queued


def check_bounds(owner: Owner) -> None:
    receiver, sender = owner.connection.receiver, owner.connection.sender
    early = sum(len(payload) for _, _, payload in receiver.early or ())
    assert receiver.queued + early <= receiver.limit
    assert sum(map(len, receiver.pieces)) == receiver.queued
    assert sender.room >= -1  # the FIN takes a sequence number
    assert sender.una <= sender.next


@settings(max_examples=300)
@given(operations=operations, seed=st.integers(0, 1000), version=st.sampled_from([4, 6]))
def test_any_operations_over_any_wire(operations, seed, version):
    story = Story(seed, version)
    story.connect(seed & 1, "accept")
    for name, *arguments in operations:
        getattr(story, name)(*arguments)
        story.check()
    story.finish()
    story.check_end()


@pytest.mark.parametrize("weather", WEATHER)
def test_both_ways_at_once_and_to_the_end(weather):
    rig = Rig(weather, seed=4)
    flow = rig.connect()
    assert rig.pair.run(lambda: flow.answerer is not None, 60)
    for owner in flow.owners:
        owner.closes = True
        rig.transfer(owner, 200_000)
    assert rig.pair.run(lambda: rig.at_rest, 600)
    assert flow.complete
    assert [owner.received for owner in flow.owners] == [200_000, 200_000]
    assert not any(owner.was_reset for owner in flow.owners)


@pytest.mark.parametrize("weather", WEATHER)
def test_a_half_closed_connection_still_carries_the_other_half(weather):
    # RFC 9293 §3.6: a user may close and go on receiving.
    rig = Rig(weather, seed=6)
    flow = rig.connect()
    assert rig.pair.run(lambda: flow.answerer is not None, 60)
    assert flow.answerer is not None
    rig.close(flow.opener)
    assert rig.pair.run(lambda: flow.answerer.saw_end, 60)
    rig.pair.wait(30)
    rig.transfer(flow.answerer, 100_000)
    assert rig.pair.run(lambda: flow.opener.received == 100_000, 600)
    assert not flow.opener.saw_end
    rig.close(flow.answerer)
    assert rig.pair.run(lambda: rig.at_rest, 600)
    assert flow.complete


def test_both_close_at_once():
    # RFC 9293 §3.6, figure 13: simultaneous close.
    rig = Rig(Conditions(delay=0.1))
    flow = rig.connect()
    rig.pair.wait(1)
    for owner in flow.owners:
        owner.closes = True
    for owner in flow.owners:
        owner.serve(rig.pair.now)
    rig.pair.settle()
    assert rig.pair.run(lambda: rig.at_rest, 600)
    assert flow.complete
    assert not any(owner.was_reset for owner in flow.owners)


def test_both_open_at_once():
    # RFC 9293 §3.5, figure 8: crossing SYNs make one connection.
    rig = Rig(Conditions(delay=0.1))
    first, second = endpoint("198.18.0.1", 5000), endpoint("198.18.0.2", 6000)
    streams = Stream(1), Stream(2)
    opened = rig.stacks[0].connect(first, second, rig.pair.now), rig.stacks[1].connect(second, first, rig.pair.now)
    owners = [Owner(opened[0], *streams), Owner(opened[1], *reversed(streams))]
    rig.pair.settle()
    for owner in owners:
        owner.closes = True
        rig.transfer(owner, 50_000)
    assert rig.pair.run(lambda: rig.at_rest, 600)
    assert [(owner.received, owner.saw_end, owner.was_reset) for owner in owners] == [(50_000, True, False)] * 2


def test_a_refused_connection_is_an_error_to_who_asked():
    # RFC 9293 §3.10.7.3: RST with an acceptable ACK in SYN-SENT.
    rig = Rig(GOOD)
    flow = rig.connect(fate="hold")
    rig.pair.wait(1)
    rig.decide(flow, "refuse")
    assert rig.pair.run(lambda: flow.opener.connection.closed, 60)
    assert flow.opener.was_reset
    assert rig.at_rest


def test_nobody_answers():
    # RFC 9293 §3.8.3: a SYN is given up in the end, but not within three minutes (R2).
    rig = Rig(Conditions(loss=1.0))
    flow = rig.connect()
    assert not rig.pair.run(lambda: flow.opener.connection.closed, 30)
    assert rig.pair.run(lambda: flow.opener.connection.closed, 600)
    assert flow.opener.was_reset


def test_an_abort_reaches_the_peer():
    # RFC 9293 §3.10.5.
    rig = Rig(GOOD)
    flow = rig.connect()
    rig.pair.wait(1)
    rig.transfer(flow.opener, 10_000)
    flow.opener.abort()
    rig.pair.settle()
    assert flow.answerer is not None
    assert rig.pair.run(lambda: flow.answerer.connection.closed, 60)
    assert flow.answerer.was_reset


def test_a_lost_reset_is_found_out_by_the_next_segment():
    # RFC 9293 §3.10.7.1: a segment for a connection that is not there is answered with RST.
    rig = Rig(GOOD)
    flow = rig.connect()
    rig.pair.wait(1)
    rig.pair.there.conditions = Conditions(loss=1.0)
    flow.opener.abort()
    rig.pair.wait(1)
    rig.pair.there.conditions = GOOD
    assert flow.answerer is not None
    assert not flow.answerer.was_reset
    rig.transfer(flow.answerer, 1)
    assert rig.pair.run(lambda: flow.answerer.was_reset, 60)


def test_a_dead_wire_is_an_error_to_both():
    # RFC 9293 §3.8.3: R2 is at least 100 seconds.
    rig = Rig(GOOD)
    flow = rig.connect()
    rig.pair.wait(1)
    rig.pair.there.conditions = rig.pair.back.conditions = Conditions(loss=1.0)
    for owner in flow.owners:
        rig.transfer(owner, 10_000)
    assert not rig.pair.run(lambda: any(owner.connection.closed for owner in flow.owners), 100)
    assert rig.pair.run(lambda: rig.at_rest, 1000)
    assert all(owner.was_reset for owner in flow.owners)


def test_a_wire_that_comes_back_goes_on_where_it_was():
    # RFC 6298 §5: the back-off doubles, and the transfer takes up again within the last one.
    rig = Rig(GOOD)
    flow = rig.connect()
    rig.pair.wait(1)
    rig.transfer(flow.opener, 300_000)
    rig.pair.wait(0.03)
    rig.pair.there.conditions = rig.pair.back.conditions = Conditions(loss=1.0)
    rig.pair.wait(20)
    rig.pair.there.conditions = rig.pair.back.conditions = GOOD
    assert flow.answerer is not None
    assert rig.pair.run(lambda: flow.answerer.received == 300_000, 60)


def test_a_reader_who_stops_for_long_loses_nothing():
    # RFC 9293 §3.8.6.1: zero-window probes go on as long as they are answered.
    rig = Rig(Conditions(delay=0.01, loss=0.05), seed=2)
    flow = rig.connect()
    rig.pair.run(lambda: flow.answerer is not None, 60)
    assert flow.answerer is not None
    flow.answerer.will_take = 0
    rig.transfer(flow.opener, 2_000_000)
    rig.pair.wait(1800)
    assert not flow.opener.was_reset
    assert flow.answerer.connection.receiver.queued <= flow.answerer.connection.receiver.limit
    flow.answerer.will_take = 2_000_000
    rig.serve(flow.answerer)
    assert rig.pair.run(lambda: flow.answerer.received == 2_000_000, 300)


def test_a_lost_window_update_is_asked_for_again():
    # RFC 9293 §3.8.6.1: without a probe both would wait forever.
    rig = Rig(GOOD)
    flow = rig.connect()
    rig.pair.wait(1)
    flow.answerer.will_take = 0
    rig.transfer(flow.opener, 1_000_000)
    rig.pair.wait(5)
    assert flow.opener.connection.sender.window == 0
    rig.pair.back.conditions = Conditions(loss=1.0)
    flow.answerer.will_take = 1_000_000
    rig.serve(flow.answerer)
    assert flow.answerer.received < 1_000_000
    rig.pair.wait(0.1)
    rig.pair.back.conditions = GOOD
    assert rig.pair.run(lambda: flow.answerer.received == 1_000_000, 60)


@pytest.mark.parametrize("version", [4, 6])
def test_a_black_hole_is_found_out(version):
    # RFC 2923 §2.1, RFC 4821 §7.7: where nobody says that packets are too big, smaller ones are tried, timestamps
    # included; 1280 is what IPv6 carries everywhere (RFC 8200 §5).
    rig = Rig(Conditions(delay=0.01, mtu=1280), version=version)
    flow = rig.connect()
    rig.pair.wait(1)
    for owner in flow.owners:
        owner.closes = True
        rig.transfer(owner, 300_000)
    assert rig.pair.run(lambda: rig.at_rest, 60)
    assert flow.complete
    assert rig.pair.there.counts.too_big
