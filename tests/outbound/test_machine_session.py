"""A session by datagrams when the network moves: another socket, and nobody in it notices."""

from __future__ import annotations

import socket

import pytest

from tunflow.endpoint import Address, endpoint
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.reactor import Reactor
from tunflow.loop.sockets import UNMARKED
from tunflow.outbound.direct import FirstHop
from tunflow.outbound.machine_session import MachineRunner
from tunflow.outbound.session_outbound import SessionPlace
from tunflow.protocols.server_addresses import ServerAddresses
from tunflow.protocols.session import MachineSession


class Machine:
    """Says a word whenever it is told to, and that the server took us."""

    stands = is_drained = True
    is_used = False
    over = heard_at = None

    def __init__(self, _size):
        self.changed = []
        self.words = [b"hello"]

    @property
    def has_output(self):
        return bool(self.words)

    def connect(self, now):
        pass

    def outgoing(self, now):
        words, self.words = self.words, []
        return words

    def next_timeout(self):
        return None

    def close(self, now):
        self.words = [b"bye"]


class Told:
    def __init__(self):
        self.why = []

    def stands(self):
        pass

    def ended(self, why):
        self.why.append(why)


@pytest.fixture
def server():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.settimeout(60)
        yield made


@pytest.fixture
def session(server):
    reactor, machines, told = Reactor(), [], Told()

    def machine(size):
        machines.append(Machine(size))
        return machines[-1]

    below = FirstHop(ServerAddresses([Address(socket.AF_INET, server.getsockname())]))
    spec = MachineSession("x://server", endpoint(*server.getsockname()), "x://server", machine, lambda _: None)
    place = SessionPlace(reactor, UNMARKED, CauseLog([].append, lambda: reactor.now))
    made = MachineRunner(place, told, spec, below)
    reactor.run_once(0)
    yield made, machines[0], told, reactor
    made.close()
    assert not reactor.shared
    reactor.close()


def test_a_path_that_is_gone_is_left_for_another_socket(session, server):
    runner, machine, told, reactor = session
    word, before = server.recvfrom(100)
    assert word == b"hello"
    assert reactor.shared == {runner}
    assert runner.path == (socket.inet_aton("127.0.0.1"),) * 2
    runner.path_lost()
    machine.words = [b"still here"]
    reactor.run_once(0)
    word, after = server.recvfrom(100)
    assert word == b"still here"
    assert after != before
    assert not told.why


def test_once_over_it_has_no_path(session):
    runner, _, told, reactor = session
    runner.cut()
    assert told.why
    assert runner.path is None
    assert not reactor.shared
