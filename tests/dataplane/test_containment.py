"""A bug in one callback ends what it happened in, and nothing else."""

from __future__ import annotations

import os

import pytest

from tunflow.loop.cause_log import CauseLog
from tunflow.loop.containment import STORM, Contained, Containment
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
    contain(reactor)

    def broken():
        reactor.call_soon(broken)
        raise ValueError("x")

    reactor.call_soon(broken)
    for _ in range(STORM):
        reactor.run_once(0)
    with pytest.raises(ValueError, match="x"):
        reactor.run_once(0)


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
