"""The parts of the server that can be tried by themselves."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from server_rig import LOOPBACK, target_socket

from open_files import open_files, opened_since
from tunflow.endpoint import Endpoint
from tunflow.errors import LocalError
from tunflow.inbound import listening_sockets
from tunflow.inbound.budget import KEPT_FREE, DescriptorBudget
from tunflow.inbound.connect import Connecting, why
from tunflow.inbound.pipe import unsent
from tunflow.inbound.resolver import Addresses, InboundResolver, system_lookup
from tunflow.inbound.silent_peers import silent_seconds
from tunflow.loop import cause_log
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.reactor import Reactor


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    made = Reactor()
    yield made
    made.close()


@given(st.lists(st.binary(max_size=5), max_size=6), st.integers(min_value=0, max_value=30))
def test_unsent_is_the_rest_of_the_gather_list(pieces: list[bytes], sent: int) -> None:
    whole = b"".join(pieces)
    sent = min(sent, len(whole))
    assert b"".join(unsent(list(pieces), sent)) == whole[sent:]


def test_a_cause_is_told_once_a_minute_with_its_count() -> None:
    lines: list[str] = []
    now = 0.0
    log = CauseLog(lines.append, lambda: now)
    for now in (0.0, 1.0, 59.0, 61.0, 62.0):
        log.tell("a", f"at {now}")
    log.tell("b", "other")
    assert lines == ["at 0.0", "at 61.0 (and 2 more since the last such line)", "other"]


def test_the_causes_remembered_are_bounded() -> None:
    log = CauseLog(lambda _line: None, lambda: 0.0)
    for number in range(cause_log.CAUSES_REMEMBERED * 2):
        log.tell(str(number), "line")
    assert log.remembered == cause_log.CAUSES_REMEMBERED


def test_a_budget_refuses_whole_and_calls_who_waits_once() -> None:
    budget = DescriptorBudget(KEPT_FREE + 9)
    called: list[int] = []
    assert budget.take(8)
    assert not budget.take(2)
    assert budget.used == 8
    budget.when_free(lambda: called.append(1))
    budget.give(2)
    budget.give(2)
    assert called == [1]
    assert budget.take(2)


def test_strangers_are_let_go_at_a_time_between_two() -> None:
    assert [silent_seconds(lambda size, drawn=drawn: drawn * size) for drawn in (b"\0", b"\xff")] == [45, 75]


def turn(reactor: Reactor, answers: list[object]) -> None:
    """Serve until there is an answer."""
    for _ in range(500):
        if answers:
            return
        reactor.run_once(0.01)
    raise AssertionError("no answer")


def test_a_name_is_looked_up_once_for_all_who_ask(reactor: Reactor) -> None:
    asked: list[str] = []
    go = threading.Event()

    def lookup(host: str) -> Addresses:
        asked.append(host)
        go.wait(60)
        return (LOOPBACK,)

    resolver = InboundResolver(reactor, lookup)
    answers: list[object] = []
    resolver.resolve("a", answers.append)
    resolver.resolve("a", answers.append)
    assert answers == []
    go.set()
    turn(reactor, answers)
    resolver.resolve("a", answers.append)  # kept: answered at once
    assert answers == [(LOOPBACK,)] * 3
    assert asked == ["a"]
    resolver.close()


def test_a_failure_is_not_kept(reactor: Reactor) -> None:
    outcomes: list[Addresses] = [(), (LOOPBACK,)]
    resolver = InboundResolver(reactor, lambda _host: outcomes.pop(0))
    for expected in ((), (LOOPBACK,)):
        answers: list[object] = []
        resolver.resolve("a", answers.append)
        turn(reactor, answers)
        assert answers == [expected]
    resolver.close()


def test_an_answer_after_close_goes_nowhere(reactor: Reactor) -> None:
    go, done = threading.Event(), threading.Event()

    def lookup(_host: str) -> Addresses:
        go.wait(60)
        done.set()
        return (LOOPBACK,)

    answers: list[object] = []
    resolver = InboundResolver(reactor, lookup)
    resolver.resolve("a", answers.append)
    resolver.close()
    reused = os.eventfd(0, os.EFD_NONBLOCK)  # most likely the number that the resolver had
    go.set()
    assert done.wait(60)
    with pytest.raises(BlockingIOError):
        os.eventfd_read(reused)
    os.close(reused)
    assert answers == []


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70 + ".example", "..", "%", "xn--\x80"])
def test_names_that_cannot_be_resolved_have_no_address(host: str) -> None:
    assert system_lookup(host) == ()


@pytest.mark.parametrize("host", ["abc.onion", "www.abc.ONION.", "a.invalid"])
def test_names_that_are_nobodys_are_not_asked_of_the_system(host, monkeypatch):
    def ask(*_: object, **__: object) -> None:
        raise AssertionError("the system was asked")

    monkeypatch.setattr(socket, "getaddrinfo", ask)
    assert system_lookup(host) == ()


def test_addresses_are_tried_in_order(reactor: Reactor) -> None:
    with target_socket() as (listening, where):
        refusing = socket.inet_aton("127.0.0.2")  # nobody listens on this port there
        resolver = InboundResolver(reactor, lambda _host: (refusing, LOOPBACK))
        outcomes: list[object] = []
        Connecting(reactor, resolver, Endpoint("a", where.port), lambda *outcome: outcomes.append(outcome))
        turn(reactor, outcomes)
        ((connected, error),) = outcomes  # type: ignore[misc]
        assert error == 0
        assert connected.getpeername() == listening.getsockname()
        connected.close()
        resolver.close()


def test_cancelling_tells_nobody_and_leaves_nothing(reactor: Reactor) -> None:
    with target_socket() as (_, where):
        resolver = InboundResolver(reactor, lambda _host: ())
        outcomes: list[object] = []
        before = open_files()
        connecting = Connecting(reactor, resolver, where, lambda *outcome: outcomes.append(outcome))
        connecting.cancel()
        connecting.cancel()
        reactor.run_once(0.02)
        assert outcomes == []
        assert not opened_since(before)
        resolver.close()


def test_why_names_what_a_user_knows() -> None:
    assert why(errno.ECONNREFUSED) == "Connection refused"
    assert why(errno.EADDRNOTAVAIL) == "no such name"


def test_a_free_port_is_free_for_streams_and_datagrams(monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[int] = []

    class Taken(socket.socket):
        def bind(self, where: object) -> None:
            if self.type == socket.SOCK_DGRAM and len(refused) < 3:
                refused.append(1)
                raise OSError(errno.EADDRINUSE, "in use")
            super().bind(where)  # type: ignore[arg-type]

    monkeypatch.setattr(listening_sockets.socket, "socket", Taken)
    ((stream, datagrams),) = listening_sockets.listening_sockets("127.0.0.1", 0)
    with stream, datagrams:
        assert stream.getsockname() == datagrams.getsockname()
        with pytest.raises(LocalError, match="in use"):
            listening_sockets.listening_sockets("127.0.0.1", stream.getsockname()[1])
    assert len(refused) == 3
