from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.errors import LocalError
from tunflow.rules.groups import AT_ONCE, INTERVAL, RETRY, Group, Groups, Health

SERVERS = ("a", "b", "c")


def group(kind: str, *members: str, name: str = "g") -> Group:
    return Group(name, kind, members or SERVERS)


class Bench:
    """Groups and health at explicit times; every check that is due is answered from `delays` (None: it fails)."""

    def __init__(self, *groups: Group, servers: tuple[str, ...] = SERVERS, jitter: float = 0.0) -> None:
        self.health = Health(lambda: jitter)
        self.groups = Groups(groups, servers, self.health, ["DIRECT"])
        self.delays: dict[str, float | None] = dict.fromkeys(servers, 0.1)
        self.asked: list[tuple[float, str]] = []

    def use(self, now: float, target: str = "g", destination: str = "x") -> str:
        self.groups.used(target, now)
        self.health.handle_timeout(now)
        return self.groups.way(target, destination)[-1]

    def answer(self, now: float) -> None:
        while self.health.due:
            due, self.health.due = self.health.due, []
            for server in due:
                self.asked.append((now, server))
                delay = self.delays[server]
                if delay is None:
                    self.health.failed(server, now)
                else:
                    self.health.succeeded(server, delay, now)

    def run(self, until: float) -> None:
        while (when := self.health.next_timeout()) is not None and when <= until:
            self.health.handle_timeout(when)
            self.answer(when)


def test_select_is_what_the_user_chose_whatever_its_health() -> None:
    bench = Bench(group("select"))
    assert bench.use(0) == "a"
    bench.groups.select("g", "c")
    assert bench.use(0) == "c"
    assert bench.health.next_timeout() is None, "nobody needs to know how a selected server does"
    with pytest.raises(LocalError, match="has no member 'd'; it has: a, b, c"):
        bench.groups.select("g", "d")
    with pytest.raises(LocalError, match="'a' is not a group of the type select"):
        bench.groups.select("a", "b")


def test_fallback_is_the_first_that_works() -> None:
    bench = Bench(group("fallback"))
    bench.delays.update(a=None, b=None)
    assert bench.use(0) == "a", "not asked yet counts as working"
    bench.answer(0)
    assert bench.use(1) == "c"
    bench.delays["c"] = None
    bench.run(INTERVAL + 1)
    assert bench.use(INTERVAL + 1) == "a", "when none works, the first is tried"
    bench.delays["b"] = 0.2
    bench.run(3 * INTERVAL)
    assert bench.use(3 * INTERVAL) == "b"


def test_url_test_is_the_fastest_and_does_not_hop_for_a_little() -> None:
    bench = Bench(group("url-test"))
    bench.delays.update(a=0.3, b=0.1, c=0.2)
    bench.use(0)
    bench.answer(0)
    assert bench.use(1) == "b"
    bench.delays.update(c=0.07)
    bench.run(INTERVAL)
    assert bench.use(INTERVAL + 1) == "b", "not faster by the tolerance"
    bench.delays.update(c=0.02)
    bench.run(2 * INTERVAL)
    assert bench.use(2 * INTERVAL + 1) == "c"
    bench.delays.update(c=None)
    bench.run(3 * INTERVAL)
    assert bench.use(3 * INTERVAL + 1) == "b"


@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=30), st.sampled_from(SERVERS))
def test_load_balance_moves_only_the_destinations_of_the_server_that_went(names: list[str], gone: str) -> None:
    bench = Bench(group("load-balance"))
    before = {name: bench.use(0, destination=name) for name in names}
    bench.delays[gone] = None
    bench.answer(0)
    after = {name: bench.use(1, destination=name) for name in names}
    for name in names:
        assert after[name] != gone
        assert before[name] in {gone, after[name]}


def test_load_balance_shares_out_evenly() -> None:
    bench = Bench(group("load-balance"))
    counts = dict.fromkeys(SERVERS, 0)
    for number in range(3000):
        counts[bench.use(0, destination=f"{number}.example")] += 1
    assert min(counts.values()) > 850


def test_groups_nest() -> None:
    inner = group("fallback", "a", "b", name="inner")
    bench = Bench(group("fallback", "inner", "DIRECT"), inner)
    bench.use(0)
    bench.answer(0)
    assert bench.groups.way("g", "x") == ["g", "inner", "a"]
    bench.delays.update(a=None, b=None)
    bench.run(INTERVAL)
    assert bench.groups.way("g", "x") == ["g", "DIRECT"]


def test_what_no_group_can_be_is_refused() -> None:
    with pytest.raises(LocalError, match="group 'g': there is no server or group 'x'"):
        Bench(group("select", "x"))
    with pytest.raises(LocalError, match="group 'g' contains itself: g -> h -> g"):
        Bench(group("select", "h"), group("select", "g", name="h"))


def test_nobody_is_asked_before_a_flow_and_long_after_the_last() -> None:
    bench = Bench(group("url-test"))
    assert bench.health.next_timeout() is None
    bench.use(0)
    bench.answer(0)
    bench.run(20 * INTERVAL)
    assert len(bench.asked) <= 3 * 4
    assert bench.health.next_timeout() is None
    bench.use(20 * INTERVAL)
    assert bench.health.due or bench.health.next_timeout() is not None


def test_checks_do_not_stampede() -> None:
    """Many servers in many groups, many flows at once: each is asked once, a few at a time, then apart."""
    servers = tuple(f"s{number}" for number in range(50))
    rng = random.Random(1)
    health = Health(rng.random)
    groups = Groups([group("url-test", *servers), group("fallback", *servers, name="h")], servers, health)
    asked: list[str] = []
    for _ in range(100):
        for name in ("g", "h"):
            groups.used(name, 0)
        health.handle_timeout(0)
        assert len(health.due) <= AT_ONCE
    while health.due:
        asked.append(health.due.pop(0))
        health.succeeded(asked[-1], 0.1, 0)
        assert len(health.due) <= AT_ONCE
    assert sorted(asked) == sorted(servers)
    times = []
    while len(times) < 50:
        when = health.next_timeout()
        assert when is not None
        times.append(when)
        health.handle_timeout(when)
        for server in health.due:
            health.succeeded(server, 0.1, when)
        health.due = []
    assert len(set(times)) == 50
    assert max(times) - min(times) > 0.1 * INTERVAL


def test_a_flow_that_fails_has_the_server_asked_at_once_and_once() -> None:
    bench = Bench(group("fallback", "a", "b"))
    bench.health.suspect("a", 0)  # nobody needs to know
    assert bench.health.next_timeout() is None
    bench.use(0)
    bench.answer(0)
    bench.delays["a"] = None
    for _ in range(100):
        bench.health.suspect("a", 1)  # it has just answered
    assert bench.health.next_timeout() == INTERVAL
    for _ in range(100):
        bench.health.suspect("a", 100)
    assert bench.health.next_timeout() == 100
    bench.health.handle_timeout(100)
    bench.health.suspect("a", 100)
    assert bench.health.due == ["a"]
    bench.answer(100)
    assert bench.use(101) == "b"
    bench.health.suspect("a", 200)  # known already
    bench.delays["a"] = 0.1
    bench.run(INTERVAL - 1)
    assert [when for when, server in bench.asked if server == "a"] == [0, 100, 100 + RETRY]


def test_a_server_that_failed_is_asked_again_sooner_and_then_later() -> None:
    bench = Bench(group("fallback", "a", "b"))
    bench.delays["a"] = None
    bench.use(0)
    bench.answer(0)
    bench.run(INTERVAL)
    times = [when for when, server in bench.asked if server == "a"]
    assert times == [0, RETRY, 3 * RETRY, 7 * RETRY]
