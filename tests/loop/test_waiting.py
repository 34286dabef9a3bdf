"""How the loop waits: asleep, awake for a moment, and when it changes from one to the other."""

from __future__ import annotations

import math

import pytest

from tunflow.loop.reactor import Reactor
from tunflow.loop.waiting import FEW, LONG, MOMENT, SHORT, Waiting

EVENT = [(5, 1)]
CALL = 1e-6
"""Seconds that a question to epoll takes here."""


class World:
    """An epoll descriptor whose next event comes `gap` seconds after the wait for it began, and its clock."""

    def __init__(self, cpus=2):
        self.now = 50.0
        self.asked = []
        self.gave_way = 0
        self.events = EVENT
        self.waiting = Waiting(self, lambda: self.now, self._give_way, cpus)
        self._event_at = math.inf

    def poll(self, timeout):
        """What `select.epoll.poll` does."""
        self.asked.append(timeout)
        self.now += CALL
        if timeout != 0 and self._event_at > self.now:
            self.now = min(self._event_at, math.inf if timeout is None else self.now + timeout)
        return self.events if self._event_at <= self.now else []

    def wait(self, gap, patience=None):
        self.asked.clear()
        self._event_at = self.now + gap
        return self.waiting.events(patience)

    def exchange(self, waits=40, gap=SHORT / 10):
        """Packets that come one after the other, as of one request and its answer."""
        for _ in range(waits):
            assert self.wait(gap) == EVENT

    @property
    def slept(self):
        return any(timeout != 0 for timeout in self.asked)

    def _give_way(self):
        self.gave_way += 1


@pytest.fixture
def world():
    return World()


def test_a_loop_that_begins_sleeps(world):
    world.wait(SHORT / 10)
    assert world.asked == [None]


def test_it_stays_awake_once_events_have_mostly_come_at_once_and_lets_others_run(world):
    world.exchange()
    assert not world.slept
    assert world.gave_way >= len(world.asked) - 1 > 1


def test_it_sleeps_after_a_moment_all_the_same(world):
    world.exchange()
    before = world.now
    assert world.wait(0.5) == EVENT
    assert world.asked.count(None) == 1
    assert world.asked[-1] is None
    assert world.now - before == pytest.approx(0.5, abs=1e-4)
    assert len(world.asked) <= MOMENT / CALL + 2


def test_one_long_wait_ends_it_and_a_single_request_does_not_begin_it_again(world):
    world.exchange()
    world.wait(0.5)
    for _ in range(5):
        world.wait(SHORT / 10)
        if world.slept:
            break
    else:
        pytest.fail("still awake after the long wait")
    world.exchange()
    assert not world.slept


def test_it_never_stays_awake_while_the_mean_wait_is_long(world):
    for gap in (SHORT / 10, SHORT / 10, 6 * SHORT) * 50:
        world.wait(gap)
        assert world.asked == [None], "a burst every 0.7 ms is no reason"


def test_idle_time_is_not_spent_awake(world):
    world.exchange()
    world.wait(10)
    for _ in range(20):
        world.wait(10 * LONG)
        assert world.asked == [None]


def test_bulk_has_it_sleep_once(world):
    world.exchange()
    world.waiting.asleep = True
    world.wait(SHORT / 10)
    assert world.asked == [None]
    world.wait(SHORT / 10)
    assert not world.slept


def test_many_events_at_once_have_it_sleep_once(world):
    world.exchange()
    world.events = EVENT * (FEW + 1)
    world.wait(SHORT / 10)
    world.events = EVENT
    world.wait(SHORT / 10)
    assert world.asked == [None]
    world.wait(SHORT / 10)
    assert not world.slept


def test_an_only_cpu_is_left_to_others():
    world = World(cpus=1)
    world.exchange()
    assert world.asked == [None]


def test_what_is_due_soon_is_waited_for_asleep_and_not_missed(world):
    world.exchange()
    before = world.now
    assert world.wait(1, patience=MOMENT / 2) == []
    assert world.asked == [MOMENT / 2]
    assert world.now - before == pytest.approx(MOMENT / 2, rel=0.1)


def test_no_patience_is_one_question_that_counts_for_nothing(world):
    world.exchange()
    for _ in range(20):
        assert world.wait(1, patience=0) == []
        assert world.asked == [0]
    world.wait(SHORT / 10)
    assert not world.slept


def test_a_reactor_asked_to_sleep_says_so_to_its_wait():
    reactor = Reactor()
    try:
        reactor.sleep_next()
        assert reactor.sleeps_next
    finally:
        reactor.close()
