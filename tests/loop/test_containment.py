"""A bug in one callback ends what it happened in, and nothing else."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import weakref

import pytest

from tunflow.contained import Contained
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.containment import EXIT_STATUS, STORM, Containment
from tunflow.loop.event_loop import ReactorLoop
from tunflow.loop.reactor import READ, Reactor


class Owner(Contained):
    about = "the connection of somebody"

    def __init__(self, reactor, broken=True):
        self.reactor = reactor
        self.heard, self.said = os.pipe2(os.O_NONBLOCK)
        self.broken = broken
        self.calls = 0
        self.is_cut = False
        reactor.add(self.heard, READ, self.on_readable)

    def on_readable(self, _events):
        self.calls += 1
        os.read(self.heard, 100)
        if self.broken:
            raise KeyError("a secret that the client sent")

    def cut(self):
        self.is_cut = True
        self.close()

    def close(self):
        self.reactor.remove(self.heard)
        os.close(self.heard)
        os.close(self.said)


@pytest.fixture
def reactor():
    made = Reactor()
    yield made
    made.close()


def contain(reactor):
    lines = []
    reactor.containment = Containment(CauseLog(lines.append, lambda: reactor.now), lambda: reactor.now)
    return lines


def test_without_a_containment_a_bug_ends_the_run(reactor):
    owner = Owner(reactor)
    os.write(owner.said, b"x")
    with pytest.raises(KeyError):
        reactor.run_once(1)
    owner.close()


def test_a_bug_ends_its_connection_and_is_told_without_its_words(reactor):
    lines = contain(reactor)
    broken = [Owner(reactor) for _ in range(3)]
    whole = Owner(reactor, broken=False)
    for owner in (*broken, whole):
        os.write(owner.said, b"x")
    reactor.run_once(1)
    assert [owner.is_cut for owner in broken] == [True, True, True]
    assert (whole.calls, whole.is_cut) == (1, False)
    assert reactor.containment.errors == 3
    (line,) = lines
    assert "the connection of somebody: KeyError at " in line
    assert "secret" not in line
    whole.close()


def test_a_bug_belongs_to_the_innermost_that_it_went_through(reactor):
    """As where a name's answer is handed to the connection that asked."""
    contain(reactor)
    inner = Owner(reactor)

    class Outer(Owner):
        def on_readable(self, events):
            os.write(inner.said, os.read(self.heard, 100))
            inner.on_readable(events)

    outer = Outer(reactor, broken=False)
    os.write(outer.said, b"x")
    reactor.run_once(1)
    assert inner.is_cut
    assert not outer.is_cut
    outer.close()


def test_what_a_bug_held_is_given_back_at_once(reactor):
    contain(reactor)
    heard, said = os.pipe2(os.O_NONBLOCK)

    def broken(_events):
        held = socket.socket()
        alive.append(weakref.ref(held))
        raise KeyError

    alive = []
    reactor.add(heard, READ, broken)
    os.write(said, b"x")
    gc.disable()
    try:
        reactor.run_once(1)
        assert [reference() for reference in alive] == [None]
    finally:
        gc.enable()
        reactor.remove(heard)
        os.close(heard)
        os.close(said)


@pytest.mark.parametrize("way", ["soon", "later", "deadline", "round end"])
def test_what_is_nobodys_is_told_and_the_rest_of_the_round_goes_on(reactor, way):
    lines = contain(reactor)
    done = []

    def broken(*_):
        raise ValueError("x")

    def whole(*_):
        done.append(way)

    for call in (broken, whole):
        if way == "soon":
            reactor.call_soon(call)
        elif way == "later":
            reactor.call_later(0, call)
        elif way == "deadline":
            reactor.add_deadline(lambda: 0.0, call)
        else:
            reactor.at_round_end(call)
    reactor.run_once(0)
    assert done == [way]
    assert "internal error in the loop: ValueError at " in lines[0]


def test_a_storm_of_what_is_nobodys_ends_the_run(reactor):
    lines = contain(reactor)

    def broken():
        reactor.call_soon(broken)
        raise ValueError("x")

    reactor.call_soon(broken)
    for _ in range(STORM):
        reactor.run_once(0)
    with pytest.raises(SystemExit) as ended:
        reactor.run_once(0)
    assert ended.value.code == EXIT_STATUS
    assert len(lines) == 2  # the bug's, once, and why the process ends
    assert "giving up: 100 internal errors in a row" in lines[-1]


def test_errors_between_which_the_loop_gets_on_are_no_storm(reactor):
    """As one that a client can bring about: it must not end the process for all."""
    contain(reactor)

    def broken():
        raise ValueError("x")

    for _ in range(2 * STORM):
        reactor.call_soon(broken)
        reactor.run_once(0)
        reactor.run_once(0)
    assert reactor.internal_errors == 2 * STORM


def test_a_deadline_that_cannot_be_told_does_not_end_the_run(reactor):
    contain(reactor)

    def broken():
        raise ValueError("x")

    reactor.add_deadline(broken, lambda now: None)
    reactor.run_once(1)
    assert reactor.internal_errors == 2  # asked before the wait and after it


def test_what_asyncio_caught_is_told_and_counted_too(reactor):
    lines = contain(reactor)
    loop = ReactorLoop(reactor)

    async def main():
        task = loop.create_task(broken())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del task
        loop.call_soon({}.pop, "nothing")
        await asyncio.sleep(0)

    async def broken():
        raise ValueError("a secret")

    loop.run_until_complete(main())
    gc.collect()
    loop.close()
    assert reactor.internal_errors == 2
    assert "secret" not in " ".join(lines)


def test_any_number_of_bugs_that_are_somebodys_do_not(reactor):
    contain(reactor)
    for _ in range(2 * STORM):
        owner = Owner(reactor)
        os.write(owner.said, b"x")
        reactor.run_once(1)
        assert owner.is_cut


def test_a_cut_that_fails_is_told_too(reactor):
    lines = contain(reactor)

    class Worse(Owner):
        def cut(self):
            raise OSError("x")

    owner = Worse(reactor)
    os.write(owner.said, b"x")
    reactor.run_once(1)
    assert len(lines) == 2
    owner.close()
