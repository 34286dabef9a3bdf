"""A content filter on real flows: what passes, what is held, what the client is told."""

from __future__ import annotations

import gc
import socket
from datetime import UTC, datetime

import pytest
from filter_rig import Judge, data, watch

from cost import calls_made
from tunflow.dataplane.filtering import flow_filter
from tunflow.dataplane.filtering.connection import FilteredConnection
from tunflow.dataplane.filtering.session import FilterSession
from tunflow.errors import LocalError
from tunflow.filter.block_list import BlockList
from tunflow.filter.judge import Judge as BuiltIn
from tunflow.filter.judge import ListUse
from tunflow.providers.blame import ProviderHung
from tunflow.providers.content_filter import ContentFilter
from tunflow.providers.filter_flow import ReportAction, ReportEvent
from tunflow.providers.filter_provider import FilterDataProvider
from tunflow.providers.filter_verdicts import FILTER_FLOW_BYTES_MAX, DataVerdict, NewFlowVerdict
from tunflow.testing.packet_script import ScriptedClient
from tunflow.wire.tcp import ACK, FIN, PSH, RST, SYN, Options


def test_allowed_flows_never_meet_the_filter_again(make):
    bench = make(Judge(NewFlowVerdict.allow()))
    bench.establish()
    (relay,) = bench.slots.relays
    assert not isinstance(relay.connection, FilteredConnection)
    bench.send(ACK | PSH, seq=1, ack=1, payload=b"hello")
    assert bench.far_has() == b"hello"


def test_dropped_flows_are_refused_at_once(make):
    bench = make(Judge(NewFlowVerdict.drop()))
    bench.send(SYN, seq=0)
    assert [segment.flags for segment in bench.segments] == ["RA"]
    assert not bench.slots.relays


def test_bytes_wait_for_the_verdict_and_then_the_filter_is_gone(make):
    judge = Judge(watch(outbound=4), outbound=[data(2, 3), DataVerdict.allow()])
    bench = make(judge)
    bench.establish()
    bench.send(ACK | PSH, seq=1, ack=1, payload=b"abc")
    assert bench.far_has() is None
    bench.send(ACK | PSH, seq=4, ack=1, payload=b"d")
    assert bench.far_has() == b"ab"
    bench.send(ACK | PSH, seq=5, ack=1, payload=b"e")
    assert bench.far_has() == b"cde"
    assert judge.seen == [("out", 0, b"abcd"), ("out", 2, b"cde")]
    (relay,) = bench.slots.relays
    assert not isinstance(relay.connection, FilteredConnection)


def test_a_request_that_is_asked_again_costs_few_calls_of_the_filter(make):
    request = b"GET /page HTTP/1.1\r\nHost: shop.example\r\n\r\n"

    def calls_for_another(bench):
        bench.establish()
        sent = 1

        def ask():
            nonlocal sent
            bench.send(ACK | PSH, seq=sent, ack=1, payload=request)
            sent += len(request)

        ask()
        return min(calls_made(ask) for _ in range(5))

    judged = []
    lists = (ListUse(BlockList("list", ["blocked.example"])),)
    built_in = ContentFilter(
        BuiltIn(lists), lambda: datetime(2026, 3, 2, tzinfo=UTC), lambda *each: judged.append(each)
    )
    passing = calls_for_another(make(Judge(NewFlowVerdict.allow())))
    assert calls_for_another(make(built_in)) - passing <= 12
    assert len(judged) == 6


def test_a_refused_flow_is_reset_on_both_sides_and_nothing_of_it_passed(make):
    bench = make(Judge(watch(outbound=1), outbound=[DataVerdict.drop()]))
    bench.establish()
    bench.send(ACK | PSH, seq=1, ack=1, payload=b"bad words")
    bench.until(lambda: bench.reset and not bench.slots.relays)
    with pytest.raises(ConnectionResetError):
        bench.far.recv(100)
    assert bench.stack.connections == 0


def test_a_refused_flow_can_be_shown_a_page(make):
    bench = make(
        Judge(watch(outbound=1), outbound=[DataVerdict.remediate("url", None)]), page=lambda flow, verdict: b"PAGE"
    )
    bench.establish()
    bench.send(ACK | PSH, seq=1, ack=1, payload=b"GET /bad")
    bench.until(lambda: bench.client_has() == b"PAGE" and not bench.slots.relays)
    assert not bench.reset
    assert any("F" in segment.flags for segment in bench.segments)


def test_a_page_for_a_flow_that_was_refused_before_it_began(make):
    bench = make(Judge(NewFlowVerdict.remediate("url", None)), page=lambda flow, verdict: b"PAGE")
    bench.send(SYN, seq=0)
    assert [segment.flags for segment in bench.segments] == ["SA"]
    bench.send(ACK | PSH, seq=1, ack=1, payload=b"GET /")
    assert bench.client_has() == b"PAGE"
    assert not bench.slots.relays


def test_inbound_bytes_wait_too_and_their_end_behind_them(make):
    judge = Judge(watch(inbound=6), inbound=[data(3, FILTER_FLOW_BYTES_MAX), data(FILTER_FLOW_BYTES_MAX, 0)])
    bench = make(judge)
    bench.establish()
    bench.far.sendall(b"abcdef")
    bench.until(lambda: bench.client_has() == b"abc")
    bench.far.sendall(b"ghi")
    bench.run()
    assert bench.client_has() == b"abc"
    bench.far.shutdown(socket.SHUT_WR)
    bench.until(lambda: any("F" in segment.flags for segment in bench.segments))
    assert bench.client_has() == b"abcdefghi"
    assert judge.seen == [("in", 0, b"abcdef"), ("in", 3, b"defghi")]


def fill(bench):
    """Have the far side send until nobody reads any more; how many bytes that were."""
    sent = quiet = 0
    while quiet < 20 and sent < 64 << 20:
        try:
            sent += bench.far.send(bytes(1 << 18))
            quiet = 0
        except BlockingIOError:
            quiet += 1
            bench.run(1)
    return sent


def test_what_is_held_is_bounded(make):
    judge = Judge(watch(inbound=FILTER_FLOW_BYTES_MAX), inbound=[DataVerdict.pause()])
    bench = make(judge)
    bench.establish()
    bench.far.setblocking(False)
    sent = fill(bench)
    assert sent < 32 << 20  # the far side's socket is full: we stopped reading
    (relay,) = bench.slots.relays
    assert relay.connection.held_bytes < 4 << 20


@pytest.mark.interpreted
def test_a_flow_that_may_not_hold_more_waits_for_the_verdict_without_work(make, monkeypatch):
    """It was looked at in every round, and the loop never slept."""
    judge = Judge(watch(inbound=FILTER_FLOW_BYTES_MAX), inbound=[DataVerdict.pause()])
    bench = make(judge)
    bench.establish()
    bench.far.setblocking(False)
    sent = fill(bench)
    again, looks = bench.context.turns.again, []
    monkeypatch.setattr(bench.context.turns, "again", lambda flow: [looks.append(flow), again(flow)])
    bench.run(20)
    assert len(looks) < 3  # bytes may have been on their way
    got = 0

    def client_has_all():
        nonlocal got
        got += len(bench.client_has())
        bench.segments.clear()
        bench.send(ACK, seq=1, ack=1 + got, window=512)
        return got == sent

    judge.resume_flow(judge.flows[0], DataVerdict.allow())
    bench.until(client_has_all)


@pytest.mark.parametrize("end", ["passes", "refused", "client resets", "both end, client resets"])
def test_what_is_held_counts_in_the_memory_budget_while_it_is(make, end):
    judge = Judge(watch(inbound=3000), inbound=[DataVerdict.pause()])
    bench = make(judge)
    budget = bench.stack.budget
    bench.establish()
    if end == "both end, client resets":
        bench.send(ACK | FIN, seq=1, ack=1, window=512)
    bench.far.sendall(bytes(3000))
    bench.until(lambda: judge.seen)
    assert budget.used == 3000
    if end == "passes":
        judge.resume_flow(judge.flows[0], DataVerdict.allow())
        bench.until(lambda: len(bench.client_has()) == 3000)
        bench.send(ACK, seq=1, ack=3001, window=512)
    elif end == "refused":
        judge.resume_flow(judge.flows[0], DataVerdict.drop())
        bench.far.sendall(bytes(1000))  # after the verdict
        bench.run()
    else:
        if end == "both end, client resets":
            bench.far.close()
            bench.until(lambda: not bench.slots.relays)
            assert budget.used == 3000
        bench.send(RST, seq=2 if end == "both end, client resets" else 1)
        bench.run()
        assert bench.filter.flows == 0
    assert budget.used == 0


def test_a_paused_flow_goes_on_when_it_is_told_to(make):
    judge = Judge(watch(outbound=1), outbound=[DataVerdict.pause()])
    bench = make(judge)
    bench.establish()
    bench.send(ACK | PSH, seq=1, ack=1, payload=b"may I?")
    assert bench.far_has() is None
    with pytest.raises(LocalError):
        judge.update_flow(judge.flows[0], DataVerdict.pause(), 2)
    judge.resume_flow(judge.flows[0], DataVerdict.allow())
    assert bench.far_has() == b"may I?"
    with pytest.raises(LocalError, match="not paused"):
        judge.resume_flow(judge.flows[0], DataVerdict.allow())


def test_a_flow_paused_before_it_began(make):
    judge = Judge(NewFlowVerdict.pause())
    bench = make(judge)
    bench.send(SYN, seq=0)
    assert bench.segments == []
    judge.resume_flow(judge.flows[0], watch(outbound=1))
    judge.answers["out"] = [DataVerdict.drop()]
    bench.until(lambda: any(segment.flags == "SA" for segment in bench.segments))
    bench.send(ACK | PSH, seq=1, ack=1, payload=b"x")
    bench.until(lambda: bench.reset)


def test_the_clients_end_waits_for_the_verdict(make):
    judge = Judge(watch(outbound=100), outbound=[data(0, 100)])
    bench = make(judge)
    bench.establish()
    bench.send(ACK | FIN | PSH, seq=1, ack=1, payload=b"short", window=512)
    assert bench.far_has() == b"short"
    assert bench.far_has() == b""
    assert judge.seen == [("out", 0, b"short"), "out complete"]


def test_the_far_side_is_judged_on_when_the_client_has_ended(make):
    class Plain(Judge):
        handle_outbound_data_complete = FilterDataProvider.handle_outbound_data_complete

    judge = Plain(watch(outbound=100, inbound=1), outbound=[data(0, 100)], inbound=[DataVerdict.drop()])
    bench = make(judge)
    bench.establish()
    bench.send(ACK | PSH | FIN, seq=1, ack=1, payload=b"short")
    assert bench.far_has() == b"short"
    bench.far.sendall(b"secret")
    bench.run()
    assert judge.seen[-1] == ("in", 0, b"secret")
    assert bench.client_has() == b""
    assert bench.reset


@pytest.mark.parametrize("verdict", [data(5, 1), DataVerdict.drop()])
def test_a_flow_that_is_over_waits_for_no_collector(make, verdict):
    """With thousands of flows a second the collector would take a tenth of the time."""
    bench = make(Judge(watch(outbound=1), outbound=[verdict]))
    bench.establish()
    gc.disable()
    gc.collect()
    sessions = [found for found in gc.get_objects() if isinstance(found, FilterSession)]
    session = sessions.pop()
    try:
        bench.send(ACK | PSH, seq=1, ack=1, payload=b"hello")
        if not bench.reset:
            bench.send(RST, seq=6)
        bench.filter.forget_ended()
        bench.filter.provider.flows.clear()
        bench.run()
        assert gc.get_referrers(session) == []
    finally:
        gc.enable()


@pytest.mark.parametrize("passes", [False, True])
def test_a_filter_that_raises_is_told_with_its_line_and_on_failure_decides(make, passes):
    bench = make(Judge(ValueError("oops")), on_failure_pass=passes)
    if passes:
        bench.establish()
        bench.send(ACK | PSH, seq=1, ack=1, payload=b"x")
        assert bench.far_has() == b"x"
    else:
        bench.send(SYN, seq=0)
        assert [segment.flags for segment in bench.segments] == ["RA"]
    (line,) = bench.lines
    assert "ValueError: oops" in line
    assert "filter_rig.py:" in line


def test_open_flows_are_judged_again_when_the_rules_change(make):
    judge = Judge(watch(outbound=1), outbound=[DataVerdict.allow()])
    bench = make(judge)
    bench.establish()
    bench.send(ACK | PSH, seq=1, ack=1, payload=b"fine")
    assert bench.far_has() == b"fine"
    judge.new = NewFlowVerdict.drop()
    bench.filter.rules_changed()
    bench.until(lambda: bench.reset and not bench.slots.relays)


def test_reports(make):
    judge = Judge(watch(outbound=1, should_report=True), outbound=[DataVerdict.drop()])
    bench = make(judge)
    bench.establish()
    bench.send(ACK | PSH, seq=1, ack=1, payload=b"x")
    bench.until(lambda: not bench.slots.relays)
    assert judge.reports == [
        (ReportAction.FILTER_DATA, ReportEvent.NEW_FLOW),
        (ReportAction.DROP, ReportEvent.DATA_DECISION),
        (ReportAction.DROP, ReportEvent.FLOW_CLOSED),
    ]
    assert not bench.filter.flows


def test_allowed_flows_are_judged_again_too(make):
    judge = Judge(NewFlowVerdict.allow())
    bench = make(judge)
    bench.establish()
    judge.new = NewFlowVerdict.drop()
    bench.filter.rules_changed()
    bench.until(lambda: bench.reset and not bench.slots.relays)
    assert not bench.filter.flows


@pytest.mark.parametrize("answer", [None, DataVerdict.allow(), "allow"])
def test_an_answer_that_is_no_verdict_is_a_failure(make, answer):
    bench = make(Judge(answer))
    bench.send(SYN, seq=0)
    assert [segment.flags for segment in bench.segments] == ["RA"]
    assert "expected a NewFlowVerdict" in bench.lines[0]
    bench = make(Judge(watch(outbound=1), outbound=[None]))
    bench.establish()
    bench.send(ACK | PSH, seq=1, ack=1, payload=b"x")
    bench.until(lambda: bench.reset)
    assert "handle_outbound_data answered None: expected a DataVerdict" in bench.lines[0]


def test_a_call_that_hung_and_was_interrupted_follows_on_failure(make):
    class Hangs(Judge):
        def handle_new_flow(self, flow):
            raise ProviderHung("did not return for 5 s")

    bench = make(Hangs())
    bench.send(SYN, seq=0)
    assert [segment.flags for segment in bench.segments] == ["RA"]
    assert "ProviderHung: did not return" in bench.lines[0]


@pytest.mark.parametrize("starts", [True, False])
def test_flows_wait_until_the_provider_has_started_or_failed_to(make, starts):
    judge = Judge(NewFlowVerdict.allow())
    bench = make(judge)
    bench.filter.hold()
    bench.send(SYN, seq=0, options=Options(mss=1460, window_scale=7))
    assert bench.segments == []
    assert judge.flows == []
    if starts:
        bench.filter.begin()
        bench.until(lambda: [segment.flags for segment in bench.segments] == ["SA"])
    else:
        bench.filter.provider_failed("start_filter failed: ValueError")
        bench.until(lambda: [segment.flags for segment in bench.segments] == ["RA"])
        assert "start_filter failed" in bench.lines[0]


def test_flows_that_are_held_go_on_without_the_filter(make):
    judge = Judge(NewFlowVerdict.pause())
    bench = make(judge)
    bench.send(SYN, seq=0, options=Options(mss=1460, window_scale=7))
    bench.filter.let_go()
    bench.until(lambda: any(segment.flags == "SA" for segment in bench.segments))


def test_a_page_for_a_flow_that_waited(make):
    judge = Judge(NewFlowVerdict.pause())
    bench = make(judge, page=lambda flow, verdict: b"PAGE")
    bench.send(SYN, seq=0)
    judge.resume_flow(judge.flows[0], NewFlowVerdict.remediate("url", None))
    bench.until(lambda: [segment.flags for segment in bench.segments] == ["SA"])
    bench.send(ACK | PSH, seq=1, ack=1, payload=b"GET /")
    assert bench.client_has() == b"PAGE"


def test_what_was_judged_in_part_is_not_shown_twice_when_the_rules_change(make):
    judge = Judge(watch(outbound=1), outbound=[data(3, 1), data(1, 1)])
    bench = make(judge)
    bench.establish()
    bench.send(ACK | PSH, seq=1, ack=1, payload=b"abc")
    assert bench.far_has() == b"abc"
    bench.filter.rules_changed()
    bench.send(ACK | PSH, seq=4, ack=1, payload=b"d")
    assert bench.far_has() == b"d"
    assert judge.seen == [("out", 0, b"abc"), ("out", 3, b"d")]


def test_flows_that_are_over_do_not_pile_up_between_two_sweeps(make, monkeypatch):
    monkeypatch.setattr(flow_filter, "MANY", 4)
    bench = make(Judge(NewFlowVerdict.allow()))
    for port in range(20):
        bench.client = ScriptedClient(bench.stack, target_port=bench.client.target.port, source_port=5000 + port)
        bench.send(SYN, seq=0)
        bench.send(RST, seq=1)
        assert bench.filter.flows <= 4


@pytest.mark.parametrize("greets", [True, False])
def test_a_filter_learns_whether_the_server_spoke_first(make, greets):
    class Asks(Judge):
        def handle_outbound_data(self, flow, offset, data):
            self.seen.append(flow.server_spoke_first)
            return DataVerdict.allow()

    bench = make(Asks(watch(outbound=1)))
    bench.establish()
    if greets:
        bench.far.send(b"220 hello\r\n")
        bench.until(bench.client_has)
    bench.send(ACK | PSH, seq=1, ack=1, payload=b"HELP\r\n")
    assert bench.far_has() == b"HELP\r\n"
    assert bench.filter.provider.seen == [greets]
