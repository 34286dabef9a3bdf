"""Clients of all kinds on a device in memory, and whoever they speak to on loopback: one thread, a clock that can jump.

The clients have a stack of their own, which reaches the driver's by packets alone.
"""

from __future__ import annotations

import os
import socket
import time

import dns.message
import dns.rrset

from tunflow.dataplane.admission import Admission
from tunflow.dataplane.context import FlowContext
from tunflow.dataplane.decision import Carry
from tunflow.dataplane.driver import Driver
from tunflow.dataplane.filtering.flow_filter import FlowFilter
from tunflow.dataplane.served_names import ServedNames
from tunflow.dns.config import SERVERS, DNSConfig, GroupConfig
from tunflow.dns.messages import Deframer, frame
from tunflow.dns.questions import question
from tunflow.dns.resolver_plan import ResolverPlan
from tunflow.dns.selection import OneGroup
from tunflow.dns.upstream import Upstream
from tunflow.endpoint import Endpoint, endpoint
from tunflow.host.memory import memory_pair
from tunflow.inbound.server import InboundServer
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.containment import Containment
from tunflow.loop.reactor import READ, WRITE, Reactor
from tunflow.loop.sockets import UNMARKED
from tunflow.names.name_server import NameServer
from tunflow.outbound.chain import outbound_of
from tunflow.outbound.direct import DirectOutbound
from tunflow.protocols.shadowsocks.settings import ShadowsocksServer
from tunflow.providers.filter_provider import FilterDataProvider
from tunflow.providers.filter_settings import FilterProviderConfiguration
from tunflow.providers.filter_verdicts import DataVerdict, NewFlowVerdict
from tunflow.stack.stack import Stack
from tunflow.wire import icmp, ipv4, protocols, udp, virtio_net

CLIENT = endpoint("198.18.0.1", 1).host
OUTSIDE = endpoint("192.0.2.1", 1).host
OWN = endpoint("198.18.0.2", 1).host
STRAIGHT, PROXIED, WATCHED = 5001, 5002, 5003
"""Ports that are carried straight, through a server, and shown to the filter byte by byte."""

CALM = 30
"""Turns in which a datagram gets there and its answer back, all of it on loopback and in this thread: no time passes in
which a busy machine could do something else."""
VERIFIED = virtio_net.HEADER.pack(virtio_net.DATA_VALID, 0, 0, 0, 0, 0)


def answer(asked):
    """A response with an address, its question letter by letter as it was asked."""
    made = dns.message.make_response(dns.message.from_wire(asked))
    made.answer.append(dns.rrset.from_text(made.question[0].name, 60, "IN", "A", "192.0.2.77"))
    return made.to_wire()


class JumpingClock:
    ahead = 0.0

    def __call__(self):
        return time.monotonic() + self.ahead


class Judge(FilterDataProvider):
    """Lets everything pass: of `WATCHED` it sees all, of the rest the first bytes or nothing."""

    def handle_new_flow(self, flow):
        port = flow.remote_endpoint.port
        if port == STRAIGHT:
            return NewFlowVerdict.allow()
        return NewFlowVerdict.filter_data(
            filter_outbound=True, peek_outbound_bytes=1, filter_inbound=port == WATCHED, peek_inbound_bytes=1
        )

    def handle_outbound_data(self, flow, offset, data):
        return self._seen(flow, data)

    def handle_inbound_data(self, flow, offset, data):
        return self._seen(flow, data)

    def _seen(self, flow, data):
        if flow.remote_endpoint.port == WATCHED:
            return DataVerdict.data(pass_bytes=len(data), peek_bytes=1)
        return DataVerdict.allow()


class Ways:
    """The policy: where each port's flows go."""

    def __init__(self, tcp, udp_target, proxy):
        self._tcp, self._udp, self._proxy = tcp, udp_target, proxy

    def stream(self, case):
        return Carry(self._way(case), self._tcp)

    def datagrams(self, case):
        return Carry(self._way(case), self._udp)

    def _way(self, case):
        return self._proxy if case.flow.target.port == PROXIED else DirectOutbound()


class TCPEcho:
    """Sends every byte back, and the end behind them."""

    def __init__(self, reactor):
        self._reactor = reactor
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._listener.setblocking(False)
        self.target = endpoint(*self._listener.getsockname())
        self.open = set()
        reactor.add(self._listener.fileno(), READ, self._accept)

    def _accept(self, _events):
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        sock.setblocking(False)
        self.open.add(sock)
        held, ended = bytearray(), False

        def serve(_events):
            nonlocal ended
            try:
                while not ended and len(held) < 1 << 20:
                    data = sock.recv(1 << 18)
                    ended = not data
                    held.extend(data)
            except BlockingIOError:
                pass
            except OSError:
                return self._close(sock)
            try:
                while held:
                    del held[: sock.send(held)]
            except BlockingIOError:
                return self._reactor.modify(sock.fileno(), WRITE if ended else READ | WRITE)
            except OSError:
                return self._close(sock)
            if ended:
                return self._close(sock)
            return self._reactor.modify(sock.fileno(), READ)

        self._reactor.add(sock.fileno(), READ, serve)

    def _close(self, sock):
        self.open.discard(sock)
        self._reactor.remove(sock.fileno())
        sock.close()

    def close(self):
        for sock in list(self.open):
            self._close(sock)
        self._close(self._listener)


class UDPAnswers:
    """Answers each datagram by what `make` makes of it."""

    def __init__(self, reactor, make):
        self._reactor = reactor
        self._make = make
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self._sock.setblocking(False)
        self.target = endpoint(*self._sock.getsockname())
        reactor.add(self._sock.fileno(), READ, self._on_event)

    def _on_event(self, _events):
        try:
            data, peer = self._sock.recvfrom(65536)
            self._sock.sendto(self._make(data), peer)
        except OSError:
            pass  # about an earlier one, whose asker is gone

    def close(self):
        self._reactor.remove(self._sock.fileno())
        self._sock.close()


class TCPClient:
    """Sends `data`, which is to come back whole; or a query over TCP, if `port` is 53."""

    def __init__(self, clients, port, data):
        self.kind = f"tcp {port} {len(data)} bytes"
        self._clients = clients
        self._data = self._left = frame(data) if port == 53 else data
        self._heard = bytearray()
        self._is_query = port == 53
        self.outcome = None
        self._connection = clients.stack.connect(
            Endpoint(CLIENT, clients.port()), Endpoint(OUTSIDE, port), clients.clock()
        )
        self._connection.user = self

    def service(self):
        connection, now = self._connection, self._clients.clock()
        if connection.open or connection.readable:
            while connection.readable:
                for piece in connection.take(1 << 20):
                    self._heard += piece
            room = connection.send_room
            if self._left and room > 0 and connection.open:
                connection.send([self._left[:room]], now)
                self._left = self._left[room:]
                if not self._left and not self._is_query:
                    connection.close_write(now)
        if self.outcome is not None:
            return
        if self._is_query and Deframer().receive(bytes(self._heard)):
            self.outcome = self._judge(Deframer().receive(bytes(self._heard))[0])
            connection.abort()
        elif connection.at_eof:
            self.outcome = "whole" if bytes(self._heard) == self._data else "cut short in silence"
            connection.abandon(now)
        elif connection.closed:
            self.outcome = "reset" if connection.was_reset else "gone"

    @staticmethod
    def _judge(message):
        return ("whole", "refused")[bool(message[3] & 15)]


class DatagramClient:
    """One datagram from a socket of its own, and what comes back. `wanted` says whether that is right."""

    def __init__(self, clients, kind, protocol, body, wanted, port=0):
        self.kind = kind
        self.outcome = None
        self._wanted = wanted
        target = OWN if protocol == protocols.ICMP else OUTSIDE
        self.key = protocol, port
        clients.waiting[self.key] = self
        packet = ipv4.build(CLIENT, target, protocol, len(body)) + body
        clients.card.write([[VERIFIED, packet]])

    def heard(self, body):
        self.outcome = self._wanted(body)


class Clients:
    """All clients of one device's other end."""

    def __init__(self, card, clock):
        self.card = card
        self.clock = clock
        self.stack = Stack(1500, os.urandom(32))
        self.waiting = {}
        self._ports = 2000

    def port(self):
        self._ports = 2000 + (self._ports - 1999) % 60000
        return self._ports

    def udp(self, kind, port, payload, wanted):
        mine = self.port()
        body = udp.build(mine, port, len(payload)) + payload
        return DatagramClient(self, kind, protocols.UDP, body, wanted, mine)

    def query(self, name):
        kind = f"a query for {name}"
        return self.udp(kind, 53, question(name, 1), lambda body: "refused" if body[11] & 15 else "whole")

    def ping(self):
        echo = icmp.build_v4(icmp.Echo(True, 7, self.port(), b"ping"))
        return DatagramClient(self, "ping", protocols.ICMP, echo, lambda body: ("whole", "refused")[body[0] != 0])

    def serve(self):
        """Take what the device sent, and send what there is to say."""
        stack, now = self.stack, self.clock()
        due = stack.next_timeout()
        if due is not None and due <= now:
            stack.handle_timeout(now)
        for packet in self.card.read(1000):
            protocol = packet[19]
            if protocol == protocols.TCP:
                stack.receive([packet], 10, now)
            else:
                body = packet[30:]
                port = int.from_bytes(body[2:4], "big") if protocol == protocols.UDP else 0
                if protocol == protocols.ICMP and body[0] == 3:  # about a datagram of ours: its ports
                    protocol, port, body = protocols.UDP, int.from_bytes(body[28:30], "big"), bytes(12)
                client = self.waiting.pop((protocol, port), None)
                if client is not None:
                    client.heard(body)
        while stack.changed:
            changed, stack.changed = stack.changed, []
            for connection in changed:
                connection.notified = False
                if connection.user is not None:
                    connection.user.service()
        stack.flush()
        if stack.outgoing:
            self.card.write(stack.outgoing)
            stack.outgoing = []


class World:
    """The driver with everything behind it. `lines` is its log."""

    def __init__(self):
        self.clock = JumpingClock()
        self.outside = Reactor(self.clock)
        self.reactor = reactor = Reactor(self.clock)
        self.lines = []
        log = CauseLog(self.lines.append, self.clock)
        reactor.containment = Containment(log, lambda: reactor.now)
        self.outside.containment = reactor.containment
        self.echo = TCPEcho(self.outside)
        self.udp_echo = UDPAnswers(self.outside, bytes)
        self.resolver = UDPAnswers(self.outside, answer)
        spec = ShadowsocksServer("127.0.0.1", 0, "aes-128-gcm", "secret")
        self.server = InboundServer(self.outside, spec, log=self.lines.append, allow_local=True)
        proxy = outbound_of([f"ss://aes-128-gcm:secret@127.0.0.1:{self.server.addresses[0].port}"])
        device, card = memory_pair()
        self.context = FlowContext.on(reactor, device, log, inside=frozenset({OWN}))
        group = GroupConfig((Upstream("udp", self.resolver.target, "a resolver"),), via="direct")
        config = DNSConfig({SERVERS: group}, ResolverPlan(OneGroup(SERVERS)))
        self.names = NameServer(reactor, config, lambda _via: DirectOutbound(), UNMARKED, log)
        ways = Ways(self.echo.target, self.udp_echo.target, proxy)
        self.filter = FlowFilter(self.context, Judge(), FilterProviderConfiguration())
        self.admission = Admission(
            self.context, DirectOutbound(), policy=ways, names=ServedNames(self.names), flow_filter=self.filter
        )
        self.driver = Driver(self.context, self.admission)
        self.clients = Clients(card, self.clock)
        self.device = device
        self._names = 0

    def turn(self):
        self.reactor.run_once(0)
        self.outside.run_once(0)
        self.clients.serve()

    def load(self, size):
        """Begin some of everything; the clients."""
        clients = self.clients
        begun = [TCPClient(clients, port, os.urandom(size)) for port in (STRAIGHT, PROXIED, WATCHED)]
        begun += [TCPClient(clients, port, b"short") for port in (STRAIGHT, PROXIED, WATCHED)]
        for port in (STRAIGHT, PROXIED, WATCHED):
            wanted = lambda body: "whole" if body[8:] == b"datagram" else "refused"  # noqa: E731
            begun.append(clients.udp(f"udp {port}", port, b"datagram", wanted))
        begun += [clients.query(self._name()), clients.query(self._name()), clients.ping()]
        name = self._name()
        begun += [clients.query(name), clients.query(name), TCPClient(clients, 53, question(self._name(), 1))]
        return begun

    def run(self, begun, seconds):
        """Serve until all of the clients know what became of them, but those whose datagrams are lost; how many."""
        end = time.monotonic() + seconds
        calm, jumps = 0, 8
        while (left := [client for client in begun if client.outcome is None]) and time.monotonic() < end and jumps:
            self.turn()
            calm = 0 if any(isinstance(client, TCPClient) for client in left) else calm + 1
            if calm == CALM:  # resolvers are asked again, and given up
                self.clock.ahead += 1.3
                calm = 0
                jumps -= 1
        return len(left)

    def settle(self, seconds=400.0):
        """Let time go by, so that all that is idle ends."""
        for _ in range(3):
            self.turn()
        for ahead in (1.0, 10.0, seconds, 10.0, 10.0):
            self.clock.ahead += ahead
            for _ in range(4):
                self.turn()
        self.clients.waiting.clear()

    def _name(self):
        self._names += 1
        return f"n{self._names}.example.org"

    def close(self):
        self.driver.close()
        self.server.close()
        for peer in (self.echo, self.udp_echo, self.resolver):
            peer.close()
        self.device.close()
        self.clients.card.close()
        self.reactor.close()
        self.outside.close()
