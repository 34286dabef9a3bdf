"""What is known of servers that fail flows, and when that is over."""

from __future__ import annotations

import errno

from tunflow.dataplane.server_watch import SILENCE, ServerWatch
from tunflow.dataplane.statistics import Statistics
from tunflow.errors import BadPacket
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.trouble import seen


class _Reactor:
    def __init__(self) -> None:
        self.now = 100.0
        self.later: list[tuple[float, object]] = []

    def call_later(self, delay: float, call: object) -> None:
        self.later.append((self.now + delay, call))

    def wait(self, seconds: float) -> None:
        self.now += seconds
        due, self.later = [each for each in self.later if each[0] <= self.now], []
        for _, call in due:
            call()  # type: ignore[operator]


class _Bench:
    def __init__(self) -> None:
        self.reactor, self.statistics = _Reactor(), Statistics()
        log = CauseLog(lambda _: None, lambda: self.reactor.now)
        self.watch = ServerWatch(self.reactor, log, self.statistics)  # type: ignore[arg-type]

    def trouble(self) -> tuple[str, float] | None:
        found = self.watch.troubles.get("s")
        return (found.line, found.since) if found is not None and found.counts else None


def test_a_server_that_cannot_be_reached_is_trouble_since_the_first_time_until_it_answers() -> None:
    bench = _Bench()
    bench.watch.failed("s", errno.ECONNREFUSED)
    bench.reactor.wait(7)
    bench.watch.failed("s", errno.ETIMEDOUT)
    assert bench.trouble() == ("cannot reach the server s: Connection timed out", 100.0)
    bench.watch.answered("s")
    assert bench.trouble() is None
    bench.watch.failed("s", errno.ECONNREFUSED)
    bench.watch.garbled("t", BadPacket("x"), heard=False)
    bench.watch.reachable()
    assert bench.trouble() is None
    assert list(bench.watch.troubles) == ["t"]  # a connection says nothing of its password


def test_a_wrong_password_is_trouble_at_once_and_a_site_that_hangs_up_is_none() -> None:
    bench = _Bench()
    bench.watch.closed_unheard("s")
    assert bench.trouble() == ("the server s closed connections without an answer: check the password and method", 100)
    bench.watch.answered("s")
    bench.watch.closed_unheard("s")
    bench.watch.closed_unheard("s")
    assert bench.trouble() is None
    bench.watch.closed_unheard("s")  # one after the other, and nothing in between
    assert bench.trouble() is not None


def test_silence_is_trouble_also_of_one_that_answered_before() -> None:
    bench = _Bench()
    for answered in (False, True):
        bench.watch.asked("s")
        bench.statistics.tcp_bytes_up += 100
        bench.reactor.wait(SILENCE)
        assert bench.trouble() is not None, answered
        bench.watch.answered("s")
    bench.watch.asked("s")
    bench.statistics.tcp_bytes_up += 100
    bench.statistics.tcp_bytes_down += 1
    bench.reactor.wait(SILENCE)
    assert bench.trouble() is None
    bench.watch.asked("s")
    bench.reactor.wait(SILENCE)
    assert bench.trouble() is None  # nobody said anything


def test_unsure_signs_become_sure_together() -> None:
    one = seen(None, "a", 1.0, sure=False)
    assert not one.counts
    assert seen(seen(one, "b", 2.0, sure=False), "c", 3.0, sure=False).counts
    assert seen(one, "b", 2.0).counts
