"""Servers are asked how they do, over real sockets."""

from __future__ import annotations

import errno
import socket
import threading
import time
from contextlib import suppress

import pytest
from test_policy import Bench, here
from test_rule_policy import Named, routing

from tunflow.dataplane.rule_policy import RulePolicy
from tunflow.endpoint import endpoint
from tunflow.loop.reactor import Reactor
from tunflow.loop.sockets import UNMARKED
from tunflow.outbound.chain import outbound_of
from tunflow.outbound.direct import DirectOutbound
from tunflow.outbound.health import HealthChecks
from tunflow.protocols.block.outbound import BlockOutbound
from tunflow.rules import groups
from tunflow.rules.groups import Group, Groups, Health
from tunflow.rules.health_question import HealthQuestion, parse_statuses
from tunflow.testing.packet_script import ScriptedClient
from tunflow.wire.tcp import SYN


class Web:
    """Takes connections, and answers what it is told to."""

    def __init__(self, answer: bytes) -> None:
        self.asked: list[bytes] = []
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.peer = here(self._listener)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            self.asked.append(connection.recv(1000))
            connection.sendall(self._answer)
            if not self._answer:
                connection.recv(1)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def web():
    made = Web(b"HTTP/1.1 204 No Content\r\n\r\n")
    yield made
    made.close()


def until(reactor, condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "did not happen"
        reactor.run_once(0.05)


def check(server, url=None, **question):
    """What comes of one check."""
    reactor, health = Reactor(), Health(lambda: 0.0)
    asked = HealthQuestion(url, **question)
    checks = HealthChecks(reactor, health, lambda name: server, lambda name: asked, UNMARKED)
    health.used("a", reactor.now)
    checks.arm()
    until(reactor, lambda: health.delay("a") is not None or not health.works("a"))
    reactor.close()
    return health


def test_any_http_answer_counts_and_its_time_is_known(web):
    health = check(Named(web.peer))
    assert 0 < health.delay("a") < 2
    assert web.asked == [b"GET /generate_204 HTTP/1.1\r\nHost: cp.cloudflare.com\r\nConnection: close\r\n\r\n"]


def test_what_goes_straight_out_is_asked_by_address(web):
    assert check(DirectOutbound(), f"http://{web.peer}/x").works("a")
    assert web.asked[0].startswith(f"GET /x HTTP/1.1\r\nHost: {web.peer}\r\n".encode())


def test_the_query_is_asked_for_and_no_password_told(web):
    assert check(DirectOutbound(), f"http://user:secret@{web.peer}/x?y=1").works("a")
    assert web.asked[0].startswith(f"GET /x?y=1 HTTP/1.1\r\nHost: {web.peer}\r\n".encode())


@pytest.mark.parametrize(
    "url", ["http://192.0.2.7:99999/", "http://[::1", "http://h/\u00fc", f"http://{'a' * 300}/", "https://a..b/"]
)
def test_a_check_that_cannot_be_made_counts_as_failed(web, url):
    socks = outbound_of([f"socks5://{web.peer}"])
    assert not check(socks, url).works("a")


@pytest.mark.parametrize("answer", [b"SSH-2.0-x\r\n", b"\0"])
def test_another_answer_is_a_failure(answer):
    web = Web(answer)
    assert not check(Named(web.peer)).works("a")
    web.close()


@pytest.mark.parametrize(
    ("statuses", "is_right"),
    [("*", True), ("204", True), ("200/204", True), ("200-299", True), ("200", False), ("300-399/500", False)],
)
def test_a_question_may_want_certain_answers(web, statuses, is_right):
    assert check(Named(web.peer), statuses=parse_statuses(statuses)).works("a") is is_right


@pytest.mark.parametrize("text", ["x", "20", "600", "299-200", "200/", "200-", "1_0"])
def test_what_is_no_status(text):
    with pytest.raises(ValueError, match="no status of HTTP"):
        parse_statuses(text)


def test_groups_that_are_not_lazy_are_asked_without_a_flow_and_for_good():
    health = Health(lambda: 0.0)
    made = Groups(
        [Group("g", "url-test", ("a", "inner"), is_lazy=False), Group("inner", "select", ("b",))], "ab", health
    )
    made.wake(0.0)
    for now in (0.0, 300.0, 600.0, 900.0, 1200.0):
        health.handle_timeout(now)
        assert sorted(health.due) == ["a", "b"], now
        health.due.clear()
        for server in "ab":
            health.succeeded(server, 0.1, now)


def test_what_is_known_of_servers_outlives_a_reload():
    first = Groups([Group("g", "fallback", ("a", "b"))], "ab", Health(lambda: 0.0))
    first.health.recall("a", None)
    second = Groups([Group("g", "fallback", ("a", "b", "c"))], "abc", Health(lambda: 0.0))
    second.keep(first)
    assert second.way("g", "")[-1] == "b"


def test_a_server_that_refuses_has_no_dialer_or_says_nothing_fails():
    assert not check(Named(endpoint("127.0.0.1", 1))).works("a")
    assert not check(None).works("a")
    assert not check(BlockOutbound()).works("a")
    silent = Web(b"")
    assert not check(Named(silent.peer), patience=0.05).works("a")
    silent.close()


def test_flows_move_away_from_a_server_that_fails(web):
    dead, alive = Named(endpoint("127.0.0.1", 1)), Named(web.peer)
    bench = Bench(
        lambda context: RulePolicy(
            routing(["MATCH,auto"], {"a": dead, "b": alive}, [Group("auto", "fallback", ("a", "b"))]), context
        )
    )
    policy = bench.policy
    bench.send(SYN, seq=0)
    assert dead.asked  # not asked yet counts as working
    bench.until(lambda: not policy.routing.groups.health.works("a"))
    bench.client = ScriptedClient(bench.stack, target_port=444)
    before = len(alive.asked)
    bench.send(SYN, seq=0)
    assert len(alive.asked) > before
    policy.close()
    bench.close()


def test_a_server_that_dies_in_use_is_found_out_by_the_flow_that_fails(web, monkeypatch):
    monkeypatch.setattr(groups, "SUSPECTED_AFTER", 0.0)  # its last answer counts for nothing
    dying, alive = Named(web.peer), Named(web.peer)
    dying.label = "dying"
    bench = Bench(
        lambda context: RulePolicy(
            routing(["MATCH,auto"], {"a": dying, "b": alive}, [Group("auto", "fallback", ("a", "b"))]), context
        )
    )
    policy = bench.policy
    health = policy.routing.groups.health
    bench.send(SYN, seq=0)
    bench.until(lambda: health.delay("a") is not None and health.delay("b") is not None)
    dying.peer = endpoint("127.0.0.1", 1)
    bench.context.servers.failed("dying", errno.ECONNREFUSED)  # as the relay of a flow says it
    bench.until(lambda: not health.works("a"))
    assert health.works("b")
    policy.close()
    bench.close()


def test_a_reload_keeps_what_was_chosen():
    def made():
        ways = {"a": DirectOutbound(), "b": DirectOutbound()}
        return routing(["MATCH,g"], ways, [Group("g", "select", ("a", "b"))])

    bench = Bench(lambda context: RulePolicy(made(), context))
    policy = bench.policy
    policy.routing.groups.select("g", "b")
    policy.reload(made())
    assert policy.routing.groups.way("g", "x") == ["g", "b"]
    bench.close()
