"""How fast two of our stacks are over a bad wire, and that they never stall on it. All in virtual time."""

from __future__ import annotations

from pathlib import Path

import pytest
from pair_rig import Flow, Rig
from pair_throughput import table

from tunflow.testing.link import Bursts, Conditions

SNAPSHOT = Path(__file__).parent.parent / "testing" / "throughput.txt"

SIZE = 3_000_000
ROUND_TRIP = 0.02
MINIMUM_RTO = 0.2
WIRE = {"rate": 100e6, "buffer": 1 << 20, "delay": ROUND_TRIP / 2}
"""The buffer holds more than a window, so that nothing is lost but what chance takes."""


def test_throughput_over_loss_and_buffer_is_as_written_down():
    assert table() == SNAPSHOT.read_text(), (
        "the throughput changed; if that is as it should be: python tests/stack/pair_throughput.py > "
        "tests/testing/throughput.txt"
    )


def transfer(there: Conditions, back: Conditions | None = None, seed: int = 1) -> tuple[Rig, Flow, float]:
    """One flow with SIZE bytes in the direction of `there`, on an open connection; its time in seconds."""
    rig = Rig(Conditions(delay=ROUND_TRIP / 2), seed=seed)
    flow = rig.connect()
    assert rig.pair.run(lambda: flow.opener.connection.open and flow.answerer is not None, 1)
    assert flow.answerer is not None
    rig.pair.there.conditions, rig.pair.back.conditions = there, back or there
    begin = rig.pair.now
    flow.opener.closes = True
    rig.transfer(flow.opener, SIZE)
    assert rig.pair.run(lambda: flow.answerer.saw_end, 600)
    assert flow.answerer.received == SIZE
    return rig, flow, rig.pair.now - begin


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("late", [0.001, 0.005, 0.05])
@pytest.mark.parametrize("reorder", [0.01, 0.05, 0.2])
def test_reordering_alone_never_stalls(reorder, late, seed):
    # Nothing is lost, so no byte may have to wait for a time-out (RFC 5681 §3.2: what duplicate ACKs are for).
    rig, flow, _ = transfer(Conditions(**WIRE, reorder=reorder, overtaken_for=late), seed=seed)
    assert rig.pair.there.counts.reordered > 10
    assert not rig.pair.there.counts.overflowed
    assert flow.answerer.longest_wait < MINIMUM_RTO


@pytest.mark.parametrize("duplicate", [0.05, 0.5, 1.0])
def test_duplicates_cost_nothing(duplicate):
    _, _, alone = transfer(Conditions(**WIRE))
    rig, flow, seconds = transfer(Conditions(**WIRE, duplicate=duplicate))
    assert rig.pair.there.counts.duplicated > 50
    assert flow.answerer.longest_wait < MINIMUM_RTO
    assert seconds < 1.5 * alone


@pytest.mark.parametrize(
    "there",
    [
        Conditions(**WIRE, loss=0.01),
        Conditions(**WIRE, corrupt=0.01),
        Conditions(**WIRE, bursts=Bursts(begin=0.001, end=0.1)),
        Conditions(**WIRE, loss=0.01, corrupt=0.01, reorder=0.02, duplicate=0.02, jitter=0.002),
    ],
)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_loss_stalls_for_a_few_time_outs_at_most(there, seed):
    _, flow, _ = transfer(there, seed=seed)
    assert flow.answerer.longest_wait < 4 * MINIMUM_RTO


@pytest.mark.parametrize("loss", [0.01, 0.1, 0.3])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_lost_acks_are_made_good_by_the_next(loss, seed):
    # RFC 9293 §3.4: an ACK covers all before it, so losing one loses nothing.
    clear = Conditions(**WIRE)
    _, _, alone = transfer(clear, seed=seed)
    rig, flow, seconds = transfer(clear, Conditions(**WIRE, loss=loss), seed=seed)
    assert rig.pair.back.counts.lost > 5
    assert flow.answerer.longest_wait < 2 * MINIMUM_RTO
    assert seconds < 2 * alone + 3 * MINIMUM_RTO


def test_half_of_the_acks_lost_is_slow_but_goes_on():
    clear = Conditions(**WIRE)
    _, flow, seconds = transfer(clear, Conditions(**WIRE, loss=0.5))
    assert flow.answerer.longest_wait < 20 * MINIMUM_RTO
    assert seconds < 20


def test_a_narrow_way_back_does_not_hold_up_the_data():
    # RFC 3449 §2.1: ACKs queue and are dropped on an asymmetric path; the data must not wait for each of them.
    _, flow, seconds = transfer(Conditions(**WIRE), Conditions(rate=1e6, buffer=4096, delay=ROUND_TRIP / 2))
    assert flow.answerer.longest_wait < MINIMUM_RTO
    assert SIZE * 8 / seconds > 30e6


def test_a_slow_wire_is_kept_full():
    rig, _, seconds = transfer(Conditions(rate=2e6, buffer=64 * 1024, delay=0.05))
    assert SIZE * 8 / seconds > 0.9 * 2e6
    assert rig.pair.there.counts.overflowed < 0.1 * rig.pair.there.counts.sent
