"""What a filter hears of its flows: verdicts, bytes now and then, and the end."""

from __future__ import annotations

import socket

import pytest
from filter_rig import Bench, Judge, UDPBench, data, watch

from tunflow.providers.filter_flow import ReportAction, ReportEvent
from tunflow.providers.filter_verdicts import DataVerdict, NewFlowVerdict, StatisticsReportFrequency
from tunflow.wire.tcp import ACK, FIN, PSH, RST

HIGH = StatisticsReportFrequency.HIGH


class Counting(Judge):
    def handle_report(self, report):
        self.reports.append((report.event, report.action, report.bytes_inbound_count, report.bytes_outbound_count))

    def of(self, event):
        return [report[1:] for report in self.reports if report[0] is event]


@pytest.fixture
def make():
    made = []

    def build(kind, *arguments):
        made.append(kind(*arguments))
        return made[-1]

    yield build
    for bench in made:
        bench.close()


ALLOWED = [
    (NewFlowVerdict.allow(should_report=True, statistics_report_frequency=HIGH), []),
    (watch(outbound=1, should_report=True, statistics_report_frequency=HIGH), [data(3, 1), DataVerdict.allow()]),
]


@pytest.mark.parametrize(("new", "outbound"), ALLOWED)
@pytest.mark.parametrize("reset", [False, True])
def test_bytes_of_a_stream(make, new, outbound, reset):
    judge = Counting(new, outbound)
    bench = make(Bench, judge)
    bench.establish()
    bench.send(ACK | PSH, seq=1, ack=1, payload=b"abc")
    assert bench.far_has() == b"abc"
    bench.send(ACK | PSH, seq=4, ack=1, payload=b"defgh")
    assert bench.far_has() == b"defgh"
    bench.far.sendall(bytes(1000))
    bench.until(lambda: judge.of(ReportEvent.STATISTICS)[-1:] == [(ReportAction.ALLOW, 1000, 8)])
    if reset:
        bench.send(RST, seq=9)
    else:
        bench.send(ACK | FIN, seq=9, ack=1001)
        bench.far.shutdown(socket.SHUT_WR)
        bench.until(lambda: any("F" in segment.flags for segment in bench.segments))
        bench.send(ACK, seq=10, ack=1002)
        bench.stack.handle_timeout(bench.reactor.now + 1000)
    bench.until(lambda: judge.of(ReportEvent.FLOW_CLOSED))
    assert judge.of(ReportEvent.FLOW_CLOSED) == [(ReportAction.ALLOW, 1000, 8)]
    assert not bench.filter.watched


def test_what_was_refused_did_not_pass(make):
    judge = Counting(watch(outbound=1, should_report=True), [data(3, 1), DataVerdict.remediate(None, None)])
    bench = make(Bench, judge)
    bench.establish()
    bench.send(ACK | PSH, seq=1, ack=1, payload=b"abc")
    assert bench.far_has() == b"abc"
    bench.send(ACK | PSH, seq=4, ack=1, payload=b"bad")
    bench.until(lambda: judge.of(ReportEvent.FLOW_CLOSED))
    assert bench.reset  # there is no page for what is no HTTP
    assert judge.of(ReportEvent.DATA_DECISION) == [(ReportAction.REMEDIATE, 0, 0)]
    assert judge.of(ReportEvent.FLOW_CLOSED) == [(ReportAction.REMEDIATE, 0, 3)]


def test_nobody_is_told_who_did_not_ask(make):
    judge = Counting(NewFlowVerdict.allow())
    bench = make(Bench, judge)
    bench.establish()
    bench.send(RST, seq=1)
    bench.filter.forget_ended()
    assert judge.reports == []
    assert not bench.filter.watched


@pytest.mark.parametrize(
    "outbound",
    [
        [data(100, 1)] * 3,
        [data(100, 1), DataVerdict.allow()],
        [data(100, 1), DataVerdict.allow(but_new_connections=True)],
    ],
)
def test_bytes_of_datagrams(make, outbound):
    judge = Counting(watch(outbound=1, should_report=True, statistics_report_frequency=HIGH), outbound)
    bench = make(UDPBench, judge)
    for payload in (b"one", b"two", b"three"):
        bench.send_datagram(payload)
    assert len(bench.far_got()) == 3
    (mapping,) = bench.stack.udp.mappings()
    mapping.bytes_in += 50
    bench.until(lambda: judge.of(ReportEvent.STATISTICS)[-1:])
    assert judge.of(ReportEvent.STATISTICS)[-1][1:] == (50, 11)
    bench.stack.udp.close(mapping)
    mapping.user.close()
    bench.until(lambda: judge.of(ReportEvent.FLOW_CLOSED))
    assert judge.of(ReportEvent.FLOW_CLOSED)[-1][1:] == (50, 11)
