"""Calls from other threads into the loop's."""

from __future__ import annotations

import threading

import pytest

from tunflow.loop.reactor import Reactor
from tunflow.loop.thread_calls import ThreadCalls


@pytest.fixture
def reactor():
    made = Reactor()
    yield made
    made.close()


def test_they_run_in_the_loops_thread_in_order(reactor: Reactor) -> None:
    calls, ran = ThreadCalls(reactor), []

    def ask() -> None:
        futures = [calls.call(lambda each=each: ran.append((each, threading.current_thread()))) for each in range(3)]
        for future in futures:
            future.result(60)
        calls.call(reactor.stop).result(60)

    thread = threading.Thread(target=ask)
    thread.start()
    reactor.run()
    thread.join(60)
    assert ran == [(each, threading.main_thread()) for each in range(3)]
    calls.close()


def test_what_they_raise_is_the_askers(reactor: Reactor) -> None:
    calls = ThreadCalls(reactor)

    def fail() -> None:
        raise KeyError("x")

    future = calls.call(fail)
    reactor.run_once(1)
    with pytest.raises(KeyError):
        future.result(0)
    calls.close()


def test_after_the_end_nobody_is_called_and_no_descriptor_written_to(reactor: Reactor) -> None:
    calls = ThreadCalls(reactor)
    calls.close()
    with pytest.raises(RuntimeError, match="takes no calls"):
        calls.call(lambda: None).result(0)
