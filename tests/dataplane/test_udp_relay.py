"""Datagrams from a client through the driver to real sockets on loopback, and back."""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from types import SimpleNamespace

import pytest

from nobody import nobody_at
from tunflow.dataplane.admission import Admission
from tunflow.dataplane.context import FlowContext
from tunflow.dataplane.decision import Carry
from tunflow.dataplane.driver import Driver
from tunflow.dataplane.flow_book import FlowBook
from tunflow.dataplane.udp.client_socket import CarriedFlow
from tunflow.dataplane.udp.relay import UDPRelay
from tunflow.endpoint import Endpoint, endpoint
from tunflow.flow import UDP, FlowInfo
from tunflow.host.memory import memory_pair
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.reactor import Reactor
from tunflow.loop.udp_segments import UDP_SEGMENT
from tunflow.outbound.chain import make_outbound
from tunflow.outbound.direct import DirectOutbound
from tunflow.protocols.block.outbound import BlockOutbound
from tunflow.protocols.shadowsocks.datagram import Datagrams
from tunflow.protocols.shadowsocks.keys import master_key
from tunflow.protocols.shadowsocks.methods import METHODS
from tunflow.protocols.shadowsocks.replay import ReplayFilter
from tunflow.protocols.shadowsocks.settings import ShadowsocksServer
from tunflow.stack.udp import DatagramFlow, UDPMapping, UDPRun
from tunflow.wire import icmp, ipv4, ipv6, offload, protocols, udp, virtio_net
from tunflow.wire.checksum import transport_checksum

CLIENT = {4: endpoint("198.18.0.1", 40000), 6: endpoint("fd00::1", 40000)}
INSIDE = {4: endpoint("198.18.0.2", 53), 6: endpoint("fd00::2", 53)}
OUTSIDE = endpoint("192.0.2.1", 9999)
METHOD = METHODS["aes-128-gcm"]
BOTH_FAMILIES = pytest.mark.parametrize("family", [4, 6], ids=["IPv4", "IPv6"])


class FarEndAsResolver:
    """Who answers names: queries to the tunnel's own addresses are carried to the far side."""

    trouble = None

    def __init__(self, dialer, far_end):
        self._carry = Carry(dialer, far_end)

    def admit(self, flow):
        return self._carry if flow.target in INSIDE.values() else None

    def outside(self, target, _dialer):
        return target

    def is_fake(self, _address):
        return False

    def close(self):
        """Nothing is held."""


class Bench:
    """A driver on one end of a memory pair, a client on the other; the far side is a socket on loopback.

    No packet may name loopback, so the client speaks to the tunnel's resolver, for which the far side stands in.
    """

    def __init__(self, family=4, dialer=None, book=None):
        self.family = family
        self.client = CLIENT[family]
        self.reactor = Reactor()
        self.lines = []
        device, self.card = memory_pair(vnet=True)
        self.far = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
        self.far.bind(("127.0.0.1" if family == 4 else "::1", 0))
        self.far.settimeout(60)
        self.far_end = endpoint(*self.far.getsockname()[:2])
        inside = frozenset(end.host for end in INSIDE.values())
        log = CauseLog(self.lines.append, lambda: self.reactor.now)
        dialer = dialer or DirectOutbound()
        self.context = FlowContext.on(self.reactor, device, log, inside=inside, book=book)
        self.stack, self.slots = self.context.stack, self.context.slots
        names = FarEndAsResolver(dialer, self.far_end)
        self.driver = Driver(self.context, Admission(self.context, dialer, names=names))

    @property
    def relay(self) -> UDPRelay:
        (flow, *_) = self.stack.udp.flows.values()
        return flow.user.relay

    def packet(self, payload, target=None):
        src, dst = self.client.host, (target or INSIDE[self.family]).host
        port = (target or INSIDE[self.family]).port
        value = transport_checksum(src, dst, protocols.UDP, udp.build(40000, port, len(payload)) + payload) or 0xFFFF
        body = udp.build(40000, port, len(payload), checksum=value) + payload
        build = ipv4.build if self.family == 4 else ipv6.build
        return build(src, dst, protocols.UDP, len(body)) + body

    def send(self, *payloads, target=None):
        for payload in payloads:
            self.card.write([[virtio_net.PLAIN, self.packet(payload, target)]])
        self.reactor.run_once(1)

    def send_super(self, payload, gso_size):
        vnet = virtio_net.HEADER.pack(virtio_net.DATA_VALID, virtio_net.GSO_UDP_L4, 0, gso_size, 0, 0)
        self.card.write([[vnet, self.packet(payload)]])
        self.reactor.run_once(1)

    def packets(self, count=1):
        """The next `count` packets from the stack, as the device is given them."""
        got = []
        end = time.monotonic() + 60
        while len(got) < count:
            assert time.monotonic() < end, "did not happen"
            self.reactor.run_once(0.05)
            got += self.card.read(100)
        return got

    def datagrams(self, count):
        """Source and payload of the next `count` datagrams."""
        got = []
        while len(got) < count:
            for packet in self.packets():
                head = 10 + (20 if self.family == 4 else 40) + 8
                for pieces in offload.segment([packet[:10], packet[10:head], packet[head:]]):
                    plain = b"".join(pieces)
                    at = 20 if self.family == 4 else 40
                    src, dst = (plain[12:16], plain[16:20]) if self.family == 4 else (plain[8:24], plain[24:40])
                    assert transport_checksum(src, dst, protocols.UDP, plain[at:]) == 0
                    assert dst == self.client.host
                    got.append((Endpoint(src, udp.parse_untrusted(plain[at:]).source_port), plain[at + 8 :]))
        return got

    def errors(self, count=1):
        """Source and message of the next ICMP errors."""
        got = []
        for packet in self.packets(count):
            if self.family == 4:
                four = ipv4.parse_untrusted(packet[10:])
                got.append((four.src, icmp.parse_v4_untrusted(packet[30:])))
            else:
                six = ipv6.parse_untrusted(packet[10:])
                got.append((six.src, icmp.parse_v6_untrusted(six.src, six.dst, packet[50:])))
        return got

    def close(self):
        self.far.close()
        for flow in self.stack.udp.flows.values():
            if flow.mapping.user is not None:
                flow.mapping.user.close()
        self.driver.close()
        self.reactor.close()


@pytest.fixture
def make_bench():
    made = []

    def make(*arguments, **keywords):
        made.append(Bench(*arguments, **keywords))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


@BOTH_FAMILIES
def test_datagrams_there_and_back(make_bench, family):
    bench = make_bench(family)
    bench.send(b"question", b"")
    data, peer = bench.far.recvfrom(100)
    assert (data, bench.far.recv(100)) == (b"question", b"")
    for answer in (b"answer", b"", b"more"):
        bench.far.sendto(answer, peer)
    assert bench.datagrams(3) == [(INSIDE[family], answer) for answer in (b"answer", b"", b"more")]


def test_anybody_may_answer(make_bench):
    # RFC 4787 REQ-8: endpoint-independent filtering.
    bench = make_bench()
    bench.send(b"question")
    _, peer = bench.far.recvfrom(100)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.sendto(b"hello", peer)
        assert bench.datagrams(1) == [(endpoint(*stranger.getsockname()), b"hello")]


@BOTH_FAMILIES
@pytest.mark.parametrize("sizes", [[100] * 5, [100] * 4 + [7], [7, 100, 100], [100, 0, 100], [1200] * 31, [1] * 32])
def test_runs_of_any_sizes_arrive_as_they_were_sent(make_bench, family, sizes):
    bench = make_bench(family)
    payloads = [bytes([number]) * size for number, size in enumerate(sizes)]
    bench.send(*payloads)
    got = []
    for _ in payloads:
        data, peer = bench.far.recvfrom(65536)
        got.append(data)
        bench.far.sendto(data, peer)
    assert got == payloads
    assert [payload for _, payload in bench.datagrams(len(sizes))] == payloads


def test_a_run_of_one_size_is_one_packet_to_the_device(make_bench):
    bench = make_bench()
    bench.send(b"question")
    _, peer = bench.far.recvfrom(100)
    for number in range(20):
        bench.far.sendto(bytes([number]) * 100, peer)
    (packet,) = bench.packets()
    vnet = virtio_net.parse_untrusted(packet)
    assert (vnet.segmentation, vnet.gso_size, len(packet)) == (virtio_net.GSO_UDP_L4, 100, 10 + 28 + 2000)


def test_a_super_datagram_from_the_kernel_stays_one(make_bench):
    """UDP_GRO: what a local sender or the card gave the kernel in one piece."""
    bench = make_bench()
    bench.send(b"question")
    _, peer = bench.far.recvfrom(100)
    data = os.urandom(1200 * 40 + 5)
    bench.far.sendmsg([data], [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("=H", 1200))], 0, peer)
    packets = bench.packets()
    assert len(packets) == 1
    assert virtio_net.parse_untrusted(packets[0]).gso_size == 1200
    assert packets[0][38:] == data


@BOTH_FAMILIES
def test_a_super_datagram_of_the_client_is_cut_where_it_says(make_bench, family):
    bench = make_bench(family)
    bench.send(b"first")
    data = os.urandom(2450)
    bench.send_super(data, 1000)
    assert [bench.far.recv(65536) for _ in range(4)] == [b"first", data[:1000], data[1000:2000], data[2000:]]


def test_a_kernel_that_takes_no_runs_gets_datagrams(make_bench):
    bench = make_bench()
    bench.send(b"first")
    bench.far.recv(100)
    refused = []

    class OldKernel:
        def __init__(self, sock):
            self.sock = sock

        def sendmsg(self, pieces, control, *rest):
            if control:
                refused.append(len(pieces))
                raise OSError(errno.EIO, "no checksum offload on this path")
            return self.sock.sendmsg(pieces, control, *rest)

        def __getattr__(self, name):
            return getattr(self.sock, name)

    (flow,) = bench.stack.udp.flows.values()
    flow.user.way = (OldKernel(flow.user.way[0]), flow.user.way[1])
    for _ in range(2):
        bench.send(b"abc", b"def", b"g")
        assert [bench.far.recv(100) for _ in range(3)] == [b"abc", b"def", b"g"]
    assert refused == [3]


def test_the_largest_datagram(make_bench):
    # RFC 768 and RFC 791 §3.1: 65,535 bytes less both headers.
    bench = make_bench()
    data = os.urandom(65507)
    mapping = UDPMapping(bench.client, INSIDE[4], 0.0)
    bench.send(b"first")
    bench.far.recv(100)
    run = UDPRun(DatagramFlow(b"", mapping, INSIDE[4]), 0, may_fragment=True)
    run.payloads.append(data)
    bench.relay.send(run, CarriedFlow(bench.relay, bench.far_end))
    got, peer = bench.far.recvfrom(65536)
    assert got == data
    bench.far.sendto(data, peer)
    assert bench.datagrams(1) == [(INSIDE[4], data)]


@BOTH_FAMILIES
def test_a_port_that_nobody_has_is_unreachable(make_bench, family):
    # RFC 1122 §4.1.3.3: an ICMP error is passed up to who sent the datagram.
    bench = make_bench(family)
    bench.far.close()
    bench.send(b"anybody there?")
    ((source, message),) = bench.errors()
    assert source == INSIDE[family].host
    code = icmp.UnreachableV4.PORT if family == 4 else icmp.UnreachableV6.PORT
    assert isinstance(message, icmp.Unreachable)
    assert message.code == code
    quote = bytes(message.quote)
    # All but the UDP checksum, which the kernel does not tell.
    assert quote == bench.packet(b"anybody there?")[: len(quote) - 16] + quote[-16:-14] + b"anybody there?"


def test_an_error_about_one_datagram_does_not_cost_another(make_bench):
    """The kernel reports an earlier datagram's error to the next call, which may be for somebody else."""
    bench = make_bench()
    bench.send(b"first")
    bench.far.recv(100)
    mapping = UDPMapping(bench.client, INSIDE[4], 0.0)
    with nobody_at(socket.SOCK_DGRAM) as gone:
        bench.relay.translate(OUTSIDE, closed := endpoint(*gone))
        for target, payload in ((closed, b"lost"), (bench.far_end, b"not lost")):
            run = UDPRun(DatagramFlow(b"", mapping, INSIDE[4]), 0, may_fragment=False)
            run.payloads.append(payload)
            bench.relay.send(run, CarriedFlow(bench.relay, target))
        assert bench.far.recv(100) == b"not lost"
    ((source, message),) = bench.errors()
    assert source == OUTSIDE.host
    assert message == icmp.Unreachable(icmp.UnreachableV4.PORT, message.quote)


def test_a_datagram_over_the_mtu_tells_the_mtu(make_bench):
    # RFC 4787 REQ-13. Loopback takes 65,536 bytes, so IPv4's largest datagram fits: a route is made to take less.
    bench = make_bench(6)
    bench.send(b"first")
    (flow,) = bench.stack.udp.flows.values()
    sock, _ = flow.user.way
    sock.setsockopt(socket.IPPROTO_IPV6, 24, 1300)  # IPV6_MTU of linux/in6.h
    bench.send(bytes(1400))
    ((_, message),) = bench.errors()
    assert isinstance(message, icmp.PacketTooBig)
    assert message.mtu == 1300
    assert bench.packet(b"")[:4] == bytes(message.quote[:4])


def test_blocked_datagrams_are_prohibited(make_bench):
    bench = make_bench(dialer=BlockOutbound())
    bench.send(b"hello", target=OUTSIDE)
    ((source, message),) = bench.errors()
    assert source == OUTSIDE.host
    assert message == icmp.Unreachable(icmp.UnreachableV4.COMMUNICATION_PROHIBITED, message.quote)


def test_other_ports_of_the_tunnel_are_unreachable(make_bench):
    bench = make_bench()
    bench.send(b"hello", target=Endpoint(INSIDE[4].host, 123))
    ((source, message),) = bench.errors()
    assert source == INSIDE[4].host
    assert message == icmp.Unreachable(icmp.UnreachableV4.PORT, message.quote)


class Server:
    """A Shadowsocks server that echoes, by hand."""

    def __init__(self):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.settimeout(60)
        key = master_key("secret", METHOD.key_size)
        self.codec = Datagrams(METHOD, key, os.urandom, ReplayFilter())
        port = self.sock.getsockname()[1]
        self.dialer = dialer_at(port)


def dialer_at(port):
    return make_outbound([ShadowsocksServer("127.0.0.1", port, METHOD.name, "secret")])


def test_sealed_runs_there_and_back(make_bench):
    server = Server()
    with server.sock:
        bench = make_bench(dialer=server.dialer)
        payloads = [bytes([number]) * 100 for number in range(10)] + [b"", b"short"]
        bench.send(*payloads, target=OUTSIDE)
        for payload in payloads:
            sealed, peer = server.sock.recvfrom(65536)
            target, opened = server.codec.open_untrusted(sealed)
            assert (target, opened) == (OUTSIDE, payload)
            server.sock.sendto(server.codec.seal(target, opened), peer)
        assert bench.datagrams(len(payloads)) == [(OUTSIDE, payload) for payload in payloads]


def test_a_server_that_is_gone_is_host_unreachable(make_bench):
    with nobody_at(socket.SOCK_DGRAM) as (_, port):
        bench = make_bench(dialer=dialer_at(port))
        bench.send(b"first", target=OUTSIDE)
        bench.send(b"second", target=OUTSIDE)
        ((source, message),) = bench.errors()
    assert source == OUTSIDE.host
    assert message == icmp.Unreachable(icmp.UnreachableV4.HOST, message.quote)
    assert any("refused" in line for line in bench.lines)


def test_a_flow_is_in_the_book_until_it_is_cut():
    book = FlowBook()
    bench = Bench(book=book)
    bench.send(b"hello")
    data, back = bench.far.recvfrom(100)
    assert data == b"hello"
    (entry,) = book.entries()
    assert (entry.flow.protocol, entry.label, entry.carrier.bytes_up, entry.carrier.bytes_down) == (
        UDP,
        "direct://",
        5,
        0,
    )
    bench.far.sendto(b"hi", back)
    bench.reactor.run_once(1)
    assert entry.carrier.bytes_down == 2
    assert book.cut(entry.number) == 1
    assert list(book.entries()) == []
    assert not bench.context.slots.associations
    bench.close()


def test_the_book_forgets_what_is_over_without_being_read(monkeypatch):
    monkeypatch.setattr("tunflow.dataplane.flow_book.SMALL", 4)
    book = FlowBook()
    carriers = [SimpleNamespace(is_over=False, bytes_up=0, bytes_down=0) for _ in range(20)]
    for carrier in carriers:
        book.carried(FlowInfo(UDP, CLIENT[4], OUTSIDE), carrier, "direct", OUTSIDE)
        carrier.is_over = True
        assert len(book) <= 5
