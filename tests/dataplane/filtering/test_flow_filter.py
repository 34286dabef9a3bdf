"""A content filter on real flows: what passes, what is held, what the client is told."""

from __future__ import annotations

import gc
import socket
from datetime import UTC, datetime

import pytest
from driver_rig import DriverRig, LoopbackDialer

from cost import calls_made
from tunflow.dataplane.decision import Carry
from tunflow.dataplane.filtering import flow_filter
from tunflow.dataplane.filtering.connection import FilteredConnection
from tunflow.dataplane.filtering.flow_filter import FlowFilter
from tunflow.dataplane.filtering.session import FilterSession
from tunflow.endpoint import Address, endpoint
from tunflow.errors import LocalError
from tunflow.filter.block_list import BlockList
from tunflow.filter.judge import Judge as BuiltIn
from tunflow.filter.judge import ListUse
from tunflow.outbound.direct import DirectOutbound
from tunflow.providers.blame import ProviderHung
from tunflow.providers.content_filter import ContentFilter
from tunflow.providers.filter_flow import ReportAction, ReportEvent
from tunflow.providers.filter_provider import FilterDataProvider
from tunflow.providers.filter_settings import FilterProviderConfiguration
from tunflow.providers.filter_verdicts import FILTER_FLOW_BYTES_MAX, DataVerdict, NewFlowVerdict
from tunflow.testing.packet_script import ScriptedClient
from tunflow.wire import icmp, ipv4, protocols, udp
from tunflow.wire.checksum import transport_checksum
from tunflow.wire.tcp import ACK, FIN, PSH, RST, SYN, Options


def data(pass_bytes, peek_bytes):
    return DataVerdict.data(pass_bytes=pass_bytes, peek_bytes=peek_bytes)


def watch(outbound=0, inbound=0, **more):
    return NewFlowVerdict.filter_data(
        filter_outbound=outbound > 0, peek_outbound_bytes=outbound, filter_inbound=inbound > 0,
        peek_inbound_bytes=inbound, **more,
    )  # fmt: skip


class Judge(FilterDataProvider):
    """Says what the test wants and writes down what it saw."""

    def __init__(self, new=None, outbound=(), inbound=()):
        self.new = new
        self.answers = {"out": list(outbound), "in": list(inbound)}
        self.seen = []
        self.reports = []
        self.flows = []

    def handle_new_flow(self, flow):
        self.flows.append(flow)
        if isinstance(self.new, Exception):
            raise self.new
        return self.new

    def handle_outbound_data(self, flow, offset, data):
        self.seen.append(("out", offset, data))
        return self.answers["out"].pop(0)

    def handle_inbound_data(self, flow, offset, data):
        self.seen.append(("in", offset, data))
        return self.answers["in"].pop(0)

    def handle_outbound_data_complete(self, flow):
        self.seen.append("out complete")
        return DataVerdict.allow()

    def handle_report(self, report):
        self.reports.append((report.action, report.event))


class Bench(DriverRig):
    def __init__(self, judge, page=None, on_failure_pass=False):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(0.2)
        super().__init__(LoopbackDialer(), self.listener.getsockname()[1])
        self.filter = FlowFilter(
            self.context, judge, FilterProviderConfiguration(), on_failure_pass=on_failure_pass, page=page
        )
        self.admission.use_filter(self.filter)
        self.segments = []
        self.far = None

    def send(self, flags, **fields):
        super().send(flags, **fields)
        self.run()

    def run(self, rounds=4):
        for _ in range(rounds):
            self.reactor.run_once(0.01)
        self.segments += self.answers()

    def run_once(self):
        self.run(1)

    def establish(self):
        self.send(SYN, seq=0, options=Options(mss=1460, window_scale=7))
        self.until(lambda: any(segment.flags == "SA" for segment in self.segments))
        self.send(ACK, seq=1, ack=1, window=512)
        self.far, _ = self.listener.accept()
        self.far.setblocking(False)

    def far_has(self):
        self.run()
        try:
            return self.far.recv(1 << 20)
        except BlockingIOError:
            return None

    def client_has(self):
        return b"".join(segment.payload for segment in self.segments)

    @property
    def reset(self):
        return any("R" in segment.flags for segment in self.segments)

    def close(self):
        if self.far is not None:
            self.far.close()
        self.listener.close()
        super().close()


@pytest.fixture
def make():
    made = []

    def build(*arguments, **options):
        made.append(Bench(*arguments, **options))
        return made[-1]

    yield build
    for bench in made:
        bench.close()


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


def test_what_is_held_is_bounded(make):
    judge = Judge(watch(inbound=FILTER_FLOW_BYTES_MAX), inbound=[DataVerdict.pause()])
    bench = make(judge)
    bench.establish()
    bench.far.setblocking(False)
    sent = 0
    quiet = 0
    while quiet < 20 and sent < 64 << 20:
        try:
            sent += bench.far.send(bytes(1 << 18))
            quiet = 0
        except BlockingIOError:
            quiet += 1
            bench.run(1)
    assert sent < 32 << 20  # the far side's socket is full: we stopped reading
    (relay,) = bench.slots.relays
    assert relay.connection.held_bytes < 4 << 20


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
    assert "test_flow_filter.py:" in line


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


class UDPBench(Bench):
    """A client's datagrams instead of a stream."""

    def __init__(self, judge):
        super().__init__(judge)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.setblocking(False)
        here = endpoint(*self.sock.getsockname())
        self.admission.use(self.admission.dialer, ToHere(here))

    def send_datagram(self, payload):
        client, target = endpoint("198.18.0.1", 4000), endpoint("192.0.2.1", 443)
        body = udp.build(4000, 443, len(payload))
        checksum = transport_checksum(client.host, target.host, protocols.UDP, body + payload) or 0xFFFF
        body = udp.build(4000, 443, len(payload), checksum=checksum) + payload
        packet = ipv4.build(client.host, target.host, protocols.UDP, len(body)) + body
        self.card.write([[bytes(10), packet]])
        for _ in range(3):
            self.reactor.run_once(0.01)

    def far_got(self):
        got = []
        while True:
            try:
                got.append(self.sock.recv(100))
            except BlockingIOError:
                return got

    def close(self):
        self.sock.close()
        super().close()


class ToHere:
    def __init__(self, here):
        self.here = here

    def datagrams(self, case):
        return Carry(DirectOutbound(), self.here)


@pytest.fixture
def udp_bench():
    made = []

    def build(judge):
        made.append(UDPBench(judge))
        return made[-1]

    yield build
    for bench in made:
        bench.close()


def test_datagrams_are_judged_one_by_one_until_the_last_word(udp_bench):
    judge = Judge(watch(outbound=1), outbound=[data(100, 1), DataVerdict.allow()])
    bench = udp_bench(judge)
    for payload in (b"one", b"two", b"three"):
        bench.send_datagram(payload)
    assert bench.far_got() == [b"one", b"two", b"three"]
    assert [seen[2] for seen in judge.seen] == [b"one", b"two"]


def test_a_refused_datagram_flow_is_told_and_stays_refused(udp_bench):
    judge = Judge(watch(outbound=1), outbound=[data(100, 1), DataVerdict.drop()])
    bench = udp_bench(judge)
    for payload in (b"one", b"two", b"three"):
        bench.send_datagram(payload)
    assert bench.far_got() == [b"one"]
    assert len(bench.card.read(10)) >= 1  # port unreachable
    assert len(judge.seen) == 2


def test_a_paused_datagram_flow_is_held_and_goes_on(udp_bench):
    judge = Judge(watch(outbound=1), outbound=[DataVerdict.pause()])
    bench = udp_bench(judge)
    bench.send_datagram(b"one")
    bench.send_datagram(b"two")
    assert bench.far_got() == []
    judge.resume_flow(judge.flows[0], DataVerdict.allow())
    assert sorted(bench.far_got()) == [b"one", b"two"]


def test_a_flow_that_is_judged_and_waits_for_the_policy_loses_nothing(udp_bench):
    class Later:
        def datagrams(self, case):
            self.case = case

    bench = udp_bench(Judge(watch(outbound=1), outbound=[data(100, 1)] * 3))
    here, later = bench.admission.policy.here, Later()
    bench.admission.use(bench.admission.dialer, later)
    bench.send_datagram(b"one")
    bench.send_datagram(b"two")
    later.case.give(Carry(DirectOutbound(), here))
    bench.send_datagram(b"three")
    assert bench.far_got() == [b"one", b"two", b"three"]


def test_flows_that_the_stack_forgot_are_forgotten():
    judge = Judge(NewFlowVerdict.allow())
    bench = UDPBench(judge)
    try:
        bench.send_datagram(b"one")
        assert bench.filter.flows == 1
        bench.stack.udp.flows.clear()
        for mapping in bench.stack.udp.mappings():
            mapping.flows.clear()
        bench.filter.forget_ended()
        assert not bench.filter.flows
    finally:
        bench.close()


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


@pytest.mark.parametrize(
    ("may", "trouble", "lets"),
    [
        (None, None, True),
        (lambda ping: ping.remote_endpoint.host_text != "192.0.2.9", None, False),
        (lambda ping: ping.local_endpoint.host_text == "198.18.0.2", None, True),
        (None, "it did not start", False),
    ],
)
def test_pings_are_judged_by_their_address(make, may, trouble, lets):
    """What may not pass is told to be prohibited (RFC 792; RFC 1812 §5.2.7.1)."""
    bench = make(Judge(NewFlowVerdict.allow()))
    bench.filter = FlowFilter(bench.context, bench.filter.provider, FilterProviderConfiguration(), may_ping=may)
    bench.admission.use_filter(bench.filter)
    bench.admission.use(Pinged())
    if trouble is not None:
        bench.filter.provider_failed(trouble)
    source, target = endpoint("198.18.0.2", 0).host, endpoint("192.0.2.9", 0).host
    message = icmp.build_v4(icmp.Echo(True, 7, 1, b"ping"))
    bench.card.write([[bytes(10), ipv4.build(source, target, protocols.ICMP, len(message)) + message]])
    bench.reactor.run_once(0.05)
    answers = [bytes(packet) for packet in bench.card.read(10)]
    refused = [packet for packet in answers if packet[20:22] == bytes((3, 13))]
    assert bool(refused) is not lets
    assert bench.context.statistics.echo_requests == 1


class Pinged(DirectOutbound):
    """Reached through a server that is not there: no ping leaves this machine."""

    addresses = (Address(socket.AF_INET, ("127.0.0.1", 1)),)
