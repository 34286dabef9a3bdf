"""A content filter on datagrams and pings: what passes, what is held, what the client is told."""

from __future__ import annotations

import socket

import pytest
from filter_rig import Judge, UDPBench, data, watch

from tunflow.dataplane.decision import Carry
from tunflow.dataplane.filtering.flow_filter import FlowFilter
from tunflow.endpoint import Address, endpoint
from tunflow.outbound.direct import DirectOutbound
from tunflow.providers.filter_settings import FilterProviderConfiguration
from tunflow.providers.filter_verdicts import DataVerdict, NewFlowVerdict
from tunflow.wire import icmp, ipv4, protocols


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
