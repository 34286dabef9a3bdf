"""A way out through a session: who waits, who is told, when it is dialled again."""

from __future__ import annotations

import errno

import pytest

from tunflow.endpoint import Endpoint
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.reactor import Reactor
from tunflow.loop.sockets import UNMARKED
from tunflow.outbound import session_outbound
from tunflow.outbound.client import carrier_on
from tunflow.outbound.direct import DirectOutbound
from tunflow.outbound.session_outbound import IDLE, PATIENCE, SOONEST, SessionOutbound, SessionPlace
from tunflow.protocols.contract import Carries, NoDatagrams

TARGET = Endpoint("example.com", 443)


class Session:
    is_used = False
    is_drained = True

    def __init__(self, told):
        self.told = told
        self.dialled = []
        self.sent = []
        self.is_closed = False
        self.is_resting = False

    def dial(self, target, dialled):
        self.dialled.append((target, dialled))
        return lambda: None

    def open_datagrams(self, received):
        return self

    def send(self, target, payloads):
        self.sent += payloads
        return 0

    def close(self):
        self.is_closed = True


class World:
    def __init__(self):
        self.time = 0.0
        self.reactor = Reactor(lambda: self.time)
        self.said = []
        self.sessions = []
        self.outcomes = []
        carries = Carries.STREAMS | Carries.DATAGRAMS | Carries.NAMES
        self.outbound = SessionOutbound("x://server", DirectOutbound(), carries, self._begin)
        self.outbound.place = SessionPlace(self.reactor, UNMARKED, CauseLog(self.said.append, lambda: self.reactor.now))

    def _begin(self, place, told):
        self.sessions.append(Session(told))
        return self.sessions[-1]

    def ask(self):
        give_up = self.outbound.stream(TARGET).dial(
            lambda conduit, error: self.outcomes.append((conduit, error)), carrier_on(self.reactor, UNMARKED)
        )
        self.wait(0)
        return give_up

    def wait(self, seconds):
        self.time += seconds
        for _ in range(3):
            self.reactor.run_once(0)


@pytest.fixture
def world():
    made = World()
    yield made
    made.reactor.close()


def test_flows_share_the_session_that_the_first_of_them_began(world):
    world.ask()
    world.ask()
    assert len(world.sessions) == 1
    world.outbound.stands()
    assert [target for target, _ in world.sessions[0].dialled] == [TARGET, TARGET]
    world.ask()
    assert len(world.sessions[0].dialled) == 3
    world.sessions[0].dialled[0][1](None, errno.ECONNREFUSED)
    assert world.outcomes == [(None, errno.ECONNREFUSED)]


def test_who_waits_hears_that_it_failed_and_the_next_attempt_waits(world):
    world.ask()
    world.outbound.ended("a wrong password")
    assert world.outcomes == [(None, errno.ENETDOWN)]
    assert world.outbound.stream(TARGET).trouble() == "a wrong password"
    assert world.said == ["the server x://server: cannot be used: a wrong password"]
    world.ask()
    assert len(world.sessions) == 1
    assert world.outbound.is_resting
    world.wait(SOONEST)
    assert len(world.sessions) == 2
    world.outbound.ended("a wrong password")
    world.ask()
    world.wait(SOONEST)
    assert len(world.sessions) == 2  # the pause doubles
    world.wait(SOONEST)
    assert len(world.sessions) == 3


def test_who_waits_for_long_is_told(world):
    world.ask()
    world.wait(PATIENCE)
    assert world.outcomes == [(None, errno.ENETDOWN)]


def test_who_gives_up_is_told_nothing(world):
    give_up = world.ask()
    give_up()
    world.outbound.stands()
    assert not world.sessions[0].dialled
    assert not world.outcomes


def test_a_lost_session_is_dialled_again_by_the_next_flow(world):
    world.ask()
    world.outbound.stands()
    world.outbound.ended("no answer any more")
    assert "the connection was lost: no answer any more" in world.said[0]
    world.ask()
    world.wait(SOONEST)
    assert len(world.sessions) == 2


def test_an_idle_session_is_closed_and_a_used_one_is_not(world):
    world.ask()
    world.outbound.stands()
    session = world.sessions[0]
    session.is_used = True
    world.wait(IDLE)
    assert not session.is_closed
    session.is_used = False
    world.wait(IDLE)
    assert session.is_closed
    world.ask()
    assert len(world.sessions) == 2


def test_datagrams_wait_for_the_session_but_not_for_ever(world):
    conduit = world.outbound.datagrams().open(lambda datagrams: None)
    for number in range(session_outbound.WAITING + 5):
        dropped = conduit.send(TARGET, [bytes([number])])
    assert dropped == 1
    world.outbound.stands()
    assert len(world.sessions[0].sent) == session_outbound.WAITING
    assert conduit.send(TARGET, [b"more"]) == 0
    world.outbound.ended("gone")
    assert world.outbound.is_resting


def test_what_carries_no_datagrams_says_so():
    outbound = SessionOutbound("x://server", DirectOutbound(), Carries.STREAMS, lambda place, told: Session(told))
    with pytest.raises(NoDatagrams, match="x://server carries no UDP"):
        outbound.datagrams()
