"""Who has to send less while the device's queue stands."""

from __future__ import annotations

import pytest

from tunflow.dataplane.standing_queue import SMALLEST_WINDOW, SPARED_FOR, StandingQueue
from tunflow.stack.budget import MemoryBudget
from tunflow.stack.stack import RECEIVE_LIMIT

SUPER_SEGMENT = bytes(64_250)
SMALL = bytes(60)


@pytest.fixture
def budget():
    return MemoryBudget()


@pytest.fixture
def queue(budget):
    return StandingQueue(budget)


def rounds(queue, count, packets, *, drained, now=10.0):
    for _ in range(count):
        assert queue.is_bulk(packets, now) == (len(packets[-1]) == len(SUPER_SEGMENT))
        queue.end_round(drained, now)


def test_bulk_flows_among_themselves_keep_their_windows(queue, budget):
    rounds(queue, 20, [SUPER_SEGMENT] * 4, drained=False)
    assert budget.widest == RECEIVE_LIMIT


@pytest.mark.parametrize("packets", [[SUPER_SEGMENT, SMALL, SUPER_SEGMENT], [SUPER_SEGMENT, SMALL]])
def test_they_narrow_to_one_super_segment_while_somebody_else_waits_behind_them(queue, budget, packets):
    rounds(queue, 1, packets, drained=False)
    assert budget.widest == RECEIVE_LIMIT  # a burst is no standing queue
    rounds(queue, 20, packets, drained=False)
    assert len(SUPER_SEGMENT) <= budget.widest == SMALLEST_WINDOW < 2 * len(SUPER_SEGMENT)


def test_they_widen_when_the_queue_is_short_and_when_nobody_else_is_there_any_more(queue, budget):
    rounds(queue, 20, [SUPER_SEGMENT, SMALL], drained=False)
    rounds(queue, 20, [SUPER_SEGMENT, SMALL], drained=True)
    assert budget.widest == RECEIVE_LIMIT
    rounds(queue, 20, [SUPER_SEGMENT, SMALL], drained=False)
    rounds(queue, 20, [SUPER_SEGMENT], drained=False, now=10 + SPARED_FOR / 2)
    assert budget.widest == SMALLEST_WINDOW
    rounds(queue, 20, [SUPER_SEGMENT], drained=False, now=10 + 2 * SPARED_FOR)
    assert budget.widest == RECEIVE_LIMIT
