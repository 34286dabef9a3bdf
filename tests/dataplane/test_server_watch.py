"""What is known of servers that fail flows, and when that is over."""

from __future__ import annotations

import errno

from tunflow.dataplane.server_watch import ServerWatch
from tunflow.dataplane.statistics import Statistics
from tunflow.errors import BadPacket
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.reactor import Reactor
from tunflow.loop.trouble import seen
from tunflow.outbound.silence import SILENCE


class _Bench:
    def __init__(self) -> None:
        self._now = 100.0
        self.reactor, self.statistics = Reactor(lambda: self._now), Statistics()
        self.lines: list[str] = []
        log = CauseLog(self.lines.append, lambda: self.reactor.now)
        self.watch = ServerWatch(self.reactor, log, self.statistics)

    def wait(self, seconds: float) -> None:
        self._now += seconds
        self.reactor.run_once(0)

    def trouble(self) -> tuple[str, float] | None:
        found = self.watch.troubles.get("s")
        return (found.line, found.since) if found is not None and found.counts else None


def test_a_server_that_cannot_be_reached_is_trouble_since_the_first_time_until_it_answers() -> None:
    bench = _Bench()
    bench.watch.failed("s", errno.ECONNREFUSED)
    bench.wait(7)
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
    for _ in range(8):
        bench.watch.closed_unheard("s")  # eight uploads of one program, which ends
    assert bench.trouble() is None
    for _ in range(2):
        assert bench.trouble() is None
        bench.wait(1)
        bench.watch.closed_unheard("s")  # one after the other, and nothing in between
    assert bench.trouble() is not None


def test_a_name_that_the_server_does_not_find_is_named() -> None:
    bench = _Bench()
    bench.watch.closed_unheard("s", "no.such.example")
    assert bench.trouble() is None
    for _ in range(2):
        bench.wait(1)
        bench.watch.closed_unheard("s", "no.such.example")
    line = "the server s closed connections to no.such.example without an answer: it may not find that name; "
    assert bench.trouble() == (line + "if others fail as well, check the password and method", 100.0)
    assert "closed a connection without an answer for no.such.example: it may not" in bench.lines[0]
    bench.watch.closed_unheard("s", "other.example")  # so it is not the name
    assert bench.trouble() == ("the server s closed connections without an answer: check the password and method", 100)
    bench.watch.answered("s")
    bench.watch.closed_unheard("s", "no.such.example")
    assert bench.trouble() is None


def test_a_name_that_the_server_looks_for_in_silence_is_named() -> None:
    bench = _Bench()
    for names, wanted in ((["a.example"] * 2, ", all of them to a.example: "), (["a.example", None], " s")):
        for name in names:
            bench.watch.asked("s", name)
        bench.statistics.tcp_bytes_up += 100
        bench.wait(SILENCE)
        found = bench.trouble()
        assert found is not None
        assert wanted in found[0]
        assert ("a.example" in found[0]) is (wanted != " s")


def test_silence_is_trouble_also_of_one_that_answered_before() -> None:
    bench = _Bench()
    for answered in (False, True):
        bench.watch.asked("s")
        bench.statistics.tcp_bytes_up += 100
        bench.wait(SILENCE)
        assert bench.trouble() is not None, answered
        bench.watch.answered("s")
    bench.watch.asked("s")
    bench.statistics.tcp_bytes_up += 100
    bench.statistics.tcp_bytes_down += 1
    bench.wait(SILENCE)
    assert bench.trouble() is None
    bench.watch.asked("s")
    bench.wait(SILENCE)
    assert bench.trouble() is None  # nobody said anything


def test_unsure_signs_become_sure_together() -> None:
    one = seen(None, "a", 1.0, sure=False)
    assert not one.counts
    assert seen(seen(one, "b", 2.0, sure=False), "c", 3.0, sure=False).counts
    assert seen(one, "b", 2.0).counts
