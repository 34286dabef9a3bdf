"""The loop: descriptors, timers, ends of rounds."""

from __future__ import annotations

import os
import select

import pytest

from tunflow.loop.reactor import READ, WRITE, Reactor


@pytest.fixture
def reactor():
    made = Reactor()
    yield made
    made.close()


def test_a_stale_event_does_not_reach_a_new_descriptor_with_the_same_number(reactor):
    first, first_end = os.pipe()
    second, second_end = os.pipe()
    os.write(first_end, b"x")
    os.write(second_end, b"x")
    seen = []

    def close_both(_):
        for fd in (first, second):
            reactor.remove(fd)
            os.close(fd)
        taken = [os.open(os.devnull, os.O_RDONLY), os.open(os.devnull, os.O_RDONLY)]
        assert set(taken) == {first, second}
        for fd in taken:
            os.close(fd)
        again = os.pipe()
        reactor.add(again[1], WRITE, seen.append)

    reactor.add(first, READ, close_both)
    reactor.add(second, READ, close_both)
    reactor.run_once(1)
    assert seen == []
    reactor.run_once(1)
    assert seen == [select.EPOLLOUT]


def test_timers_run_in_order_and_not_when_cancelled(reactor):
    ran = []
    for number in (3, 1, 2):
        reactor.call_later(number / 1000, lambda number=number: ran.append(number))
    reactor.call_later(0.0005, lambda: ran.append("cancelled")).cancel()
    while len(ran) < 3:
        reactor.run_once(1)
    assert ran == [1, 2, 3]


def test_cancelled_timers_do_not_pile_up(reactor):
    kept = []
    reactor.call_later(0.001, lambda: kept.append(1))
    for _ in range(10_000):
        reactor.call_later(3600, lambda: kept.append("late")).cancel()
    assert reactor.timers < 1000
    while not kept:
        reactor.run_once(1)
    assert kept == [1]


def test_call_soon_does_not_wait_and_runs_once(reactor):
    ran = []
    reactor.call_soon(lambda: ran.append(1))
    reactor.run_once(10)
    reactor.run_once(0)
    assert ran == [1]


def test_a_machines_deadline_is_served_and_then_asked_for_again(reactor):
    due = [reactor.now + 0.001]
    served = []

    def handle(now):
        served.append(now)
        due.clear()

    reactor.add_deadline(lambda: due[0] if due else None, handle)
    for _ in range(10):
        if served:
            break
        reactor.run_once(1)
    assert len(served) == 1


def test_nothing_to_do_means_waiting_not_polling(reactor):
    rounds = []
    reactor.at_round_end(lambda: rounds.append(1))
    reactor.run_once(0.02)
    assert len(rounds) == 1
