"""Packets of clients through all of a tunnel: stack, admission, name server, content filter and owners of flows.

The invariant: no bug is met, nothing is given to the clients that is malformed, and a tunnel that is left alone long
enough forgets everything. Flows end in this process (an echo), so that a run needs no socket but the loop's own.

An input is a series of operations: a byte that says which, and what it takes.
"""

from __future__ import annotations

from functools import cache

from tunflow.addresses import ip_address
from tunflow.conduit import ClientConduit
from tunflow.dataplane.admission import Admission
from tunflow.dataplane.context import FlowContext
from tunflow.dataplane.decision import Carry, DatagramCase, Decision, Delegate, StreamCase
from tunflow.dataplane.driver import Driver
from tunflow.dataplane.served_names import ServedNames
from tunflow.dns.config import SERVERS, DNSConfig, FakeIP, GroupConfig
from tunflow.dns.questions import question
from tunflow.dns.resolver_plan import ResolverPlan
from tunflow.dns.selection import OneGroup
from tunflow.dns.upstream import Upstream
from tunflow.endpoint import endpoint
from tunflow.host.memory import memory_pair
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.reactor import Reactor
from tunflow.loop.sockets import UNMARKED
from tunflow.names.name_server import NameServer
from tunflow.outbound.direct import DirectOutbound
from tunflow.profiles.file import parse
from tunflow.profiles.profile import Profile
from tunflow.protocols.block.outbound import BlockOutbound
from tunflow.stack.udp import UDPRun
from tunflow.tunnel.filtering import Filtering
from tunflow.wire import ipv4, ipv6, offload, protocols, tcp, udp, virtio_net

PROFILE = """
server = "direct://"
[filter]
close = ["encrypted-dns", "quic"]
safe_search = true
privacy = "none"
[[filter.lists]]
name = "ads"
lines = ["||ads.test^", "/banner/*$domain=shop.test", "|http://a.test/x", "@@||good.ads.test^", "192.0.2.66"]
"""


@cache
def profile() -> Profile:
    """The one of all inputs."""
    return parse(PROFILE, "fuzz.toml")


def packed(address: str) -> bytes:
    """An address as it stands in packets."""
    return ip_address(address).packed


CLIENTS = (packed("198.18.0.1"), packed("fd00::1"))
TARGETS = (
    (packed("192.0.2.80"), packed("192.0.2.66"), packed("1.1.1.1")),
    (packed("2001:db8::1"), packed("2606:4700:4700::1111"), packed("fd00::2")),
)
OWN = frozenset({packed("198.18.0.2"), packed("fd00::2")})
PORTS = (80, 443, 53, 853, 5001)
OWNER = packed("192.0.2.99")
FLAGS = (tcp.SYN, tcp.ACK | tcp.PSH, tcp.ACK, tcp.ACK | tcp.FIN, tcp.RST, tcp.SYN | tcp.ACK, 0)
HELLO = bytes.fromhex("16030100300100002c0303") + bytes(34) + b"\x00\x02\x13\x01\x01\x00\x00\x01\x00"

SEEDS: list[bytes] = [
    b"\x00\x00\x00\x00\x08",  # a SYN
    b"\x00\x00\x00\x00\x00\x01\x00\x00\x00\x40GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"\x00\x00\x00\x01\x00\x01\x00\x00\x01\x40" + HELLO,
    b"\x02\x00\x00\x02\x20" + question("a.test", 1),
    b"\x02\x00\x00\x02\x20" + question("www.google.com", 28) + b"\x04\xff",
    b"\x02\x01\x00\x01\x30" + b"\xc0\x00\x00\x00\x01\x08" + bytes(40),
    b"\x03\x00\x00\x10\x08\x00\x00\x00\x00\x01\x00\x01ping",
    b"\x05\x00\x20" + bytes(32),
]


class StreamEcho:
    """Owns a stream, and sends everything back."""

    def __init__(self, case: StreamCase) -> None:
        self._case = case
        self._conduit = case.connection
        case.connection.accept(case.context.reactor.now)

    def rebind(self, stream: ClientConduit) -> None:
        """Go on with `stream`."""
        self._conduit = stream

    def service(self) -> None:
        """Take and give."""
        conduit = self._conduit
        now = self._case.context.reactor.now
        if conduit.closed:
            return
        while conduit.readable and conduit.send_room > 0:
            conduit.send(conduit.take(conduit.send_room), now)
        if conduit.at_eof:
            conduit.abandon(now)


class DatagramEcho:
    """Owns a client's datagrams, and sends them back."""

    def __init__(self, case: DatagramCase) -> None:
        self._case = case

    def send(self, run: UDPRun) -> None:
        """One run."""
        flow = run.flow
        for payload in run.datagrams():
            self._case.context.deliver(flow.mapping, flow.target, (bytes(payload),))

    def close(self) -> None:
        """Nothing is held."""


class Ways:
    """The policy: what is not refused is echoed."""

    def stream(self, case: StreamCase) -> Decision:
        """A TCP flow."""
        if case.flow.target.port == PORTS[3]:
            return Carry(BlockOutbound(), case.flow.target)
        return Delegate(stream=StreamEcho)

    def datagrams(self, case: DatagramCase) -> Decision:
        """A UDP flow."""
        if case.flow.target.port == PORTS[3]:
            return Carry(BlockOutbound(), case.flow.target)
        return Delegate(datagrams=DatagramEcho)


class Run:
    """One tunnel, and what an input has its clients send."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0
        self.ahead = 1000.0
        self.reactor = Reactor(lambda: self.ahead)
        self.device, self.card = memory_pair()
        log = CauseLog(lambda _line: None, lambda: self.reactor.now)
        self.context = FlowContext.on(self.reactor, self.device, log, inside=OWN)
        target = endpoint("192.0.2.53", 53)
        blocked = GroupConfig((Upstream("tcp", target, "nobody"),), via="direct")
        config = DNSConfig(
            {SERVERS: blocked}, ResolverPlan(OneGroup(SERVERS), hosts={"here.test": (OWNER,)}), fake_ip=FakeIP()
        )
        self.names = NameServer(self.reactor, config, lambda _via: BlockOutbound(), UNMARKED, log)
        admission = Admission(self.context, DirectOutbound(), policy=Ways(), names=ServedNames(self.names))
        self.driver = Driver(self.context, admission)
        Filtering(profile(), lambda _line: None).serve(self.driver)
        self.next: dict[tuple[int, ...], list[int]] = {}
        """By a connection's ends: our next sequence number and the next that we acknowledge."""

    def byte(self) -> int:
        """The next byte of the input; 0 behind its end."""
        if self.at >= len(self.data):
            return 0
        self.at += 1
        return self.data[self.at - 1]

    def some(self, size: int) -> bytes:
        """So many of the next bytes."""
        found, self.at = self.data[self.at : self.at + size], self.at + size
        return found

    def operate(self) -> None:
        """Do what the input says next."""
        operation = self.byte() % 6
        if operation <= 1:
            self.segment(is_payload=operation == 1)
        elif operation == 2:
            self.datagram()
        elif operation == 3:
            version = self.byte() % 2
            self.packet(version, self.byte(), (protocols.ICMP, protocols.ICMPV6)[version], self.icmp(version))
        elif operation == 4:
            self.ahead += self.byte() ** 2 / 64
        else:
            head = (virtio_net.PLAIN, virtio_net.HEADER.pack(2, 0, 0, 0, 0, 0))[self.byte() & 1]
            self.card.write([[head, self.some(self.byte())]])
        self.serve()

    def packet(self, version: int, choice: int, protocol: int, body: bytes) -> None:
        """Send an IP packet from the client of a family."""
        client, target = CLIENTS[version], TARGETS[version][choice % 3]
        build = ipv6.build if version else ipv4.build
        head = virtio_net.HEADER.pack(virtio_net.DATA_VALID, 0, 0, 0, 0, 0)
        self.card.write([[head, build(client, target, protocol, len(body)) + body]])

    def icmp(self, version: int) -> bytes:
        """A message with a right checksum."""
        body = self.some(self.byte())
        if version or len(body) < 4:
            return body
        body = body[:2] + b"\0\0" + body[4:]
        total = sum(int.from_bytes(body[n : n + 2].ljust(2, b"\0"), "big") for n in range(0, len(body), 2))
        total = (total & 0xFFFF) + (total >> 16)
        total = (total & 0xFFFF) + (total >> 16)
        return body[:2] + (0xFFFF ^ total).to_bytes(2, "big") + body[4:]

    def datagram(self) -> None:
        """Send UDP."""
        version, choice, port = self.byte() % 2, self.byte(), PORTS[self.byte() % len(PORTS)]
        payload = self.some(self.byte() * (1 + choice % 8))
        self.packet(version, choice, protocols.UDP, udp.build(40000 + choice % 4, port, len(payload)) + payload)

    def segment(self, is_payload: bool) -> None:
        """What a client would send next on one of its connections, or something near."""
        version, choice, port = self.byte() % 2, self.byte(), PORTS[self.byte() % len(PORTS)]
        ends = (version, choice % 3, 30000 + choice % 4, port)
        seq, ack = self.next.setdefault(ends, [0, 0])
        if is_payload:
            flags, skew = tcp.ACK | tcp.PSH, self.byte()
            payload = self.some(self.byte() * (1 + choice % 8))
        else:
            flags, skew = FLAGS[choice // 4 % len(FLAGS)], self.byte()
            payload = b""
        seq = (seq + (skew - 1 if skew & 0x80 else 0)) & 0xFFFFFFFF
        body = tcp.build(30000 + choice % 4, port, seq, ack, flags, 0xFFFF) + payload
        if flags & tcp.SYN:
            self.next[ends] = [seq + 1 & 0xFFFFFFFF, ack]
        else:
            self.next[ends] = [seq + len(payload) + bool(flags & tcp.FIN) & 0xFFFFFFFF, ack]
        self.packet(version, choice, protocols.TCP, body)

    def serve(self) -> None:
        """Rounds until the clients have what there is for them."""
        for _ in range(3):
            self.reactor.run_once(0)
            for packet in self.card.read(1000):
                self.hear(packet)

    def hear(self, packet: bytes) -> None:
        """Note what a client would acknowledge."""
        for pieces in offload.segment([packet]):  # raises BadPacket if it is malformed
            whole = b"".join(pieces)
            version = whole[0] >> 4 == 6
            at, protocol = (40, whole[6]) if version else (20, whole[9])
            if protocol != protocols.TCP:
                continue
            sender = whole[8:24] if version else whole[12:16]
            if sender not in TARGETS[version]:  # answers a packet whose bytes the input has whole
                continue
            source = TARGETS[version].index(sender)
            body = whole[at:]
            ends = (int(version), source, int.from_bytes(body[2:4], "big"), int.from_bytes(body[:2], "big"))
            known = self.next.get(ends)
            if known is not None and not body[13] & tcp.RST:
                size = len(body) - (body[12] >> 2) + bool(body[13] & tcp.SYN) + bool(body[13] & tcp.FIN)
                known[1] = int.from_bytes(body[4:8], "big") + size & 0xFFFFFFFF

    def end(self) -> None:
        """Nobody sends any more: everything is forgotten."""
        self.serve()
        for _ in range(60):
            if not any(self.kept):
                break
            self.ahead += 600.0
            self.serve()
        assert self.kept == (0, 0, 0, 0), "something is kept"
        self.close()

    @property
    def kept(self) -> tuple[int, int, int, int]:
        """Connections, flows of UDP, bytes, and names that are looked up."""
        stack = self.context.stack
        return stack.connections, len(stack.udp), stack.budget.used, len(self.names.resolver)

    def close(self) -> None:
        """Give everything back."""
        self.driver.close()
        self.device.close()
        self.card.close()
        self.reactor.close()


def one_input(data: bytes) -> None:
    """Raises only when the invariant is broken."""
    run = Run(data)
    while run.at < len(data):
        run.operate()
    run.end()
