"""A content filter on real flows: a filter that says what a test wants, and the driver with a far side on loopback."""

from __future__ import annotations

import socket

from driver_rig import DriverRig, LoopbackDialer

from tunflow.dataplane.decision import Carry
from tunflow.dataplane.filtering.flow_filter import FlowFilter
from tunflow.endpoint import endpoint
from tunflow.outbound.direct import DirectOutbound
from tunflow.providers.filter_provider import FilterDataProvider
from tunflow.providers.filter_settings import FilterProviderConfiguration
from tunflow.providers.filter_verdicts import DataVerdict, NewFlowVerdict
from tunflow.wire import ipv4, protocols, udp
from tunflow.wire.checksum import transport_checksum
from tunflow.wire.tcp import ACK, SYN, Options


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
