"""The driver: owns the device, the stack and everything that a flow needs outside.

One round: the device's packets go into the stack; the stack's requests become relays; relays move bytes; at the end of
the round ACKs are flushed and what the stack put out is written to the device. Protocol machines never see a socket or
a clock, and nothing here looks into a packet.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from tunflow.conduit import ClientStream
from tunflow.dataplane.context import FlowContext
from tunflow.dataplane.decision import Carry, Decision, Policy, Refuse
from tunflow.dataplane.ping import Pinger
from tunflow.dataplane.standing_queue import StandingQueue
from tunflow.dataplane.statistics import Statistics
from tunflow.dataplane.tcp.relay import TCPRelay
from tunflow.dataplane.udp.flows import DNS_PORT, DatagramFlows
from tunflow.device import Device
from tunflow.endpoint import Endpoint
from tunflow.flow import TCP, FlowInfo, HardwareFinder, ProcessFinder
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.reactor import READ, Reactor
from tunflow.loop.sockets import UNMARKED, SocketOptions
from tunflow.loop.trouble import Trouble
from tunflow.names.forwarder import QUERY_TIMEOUT, DNSForwarder
from tunflow.protocols.codec import ProxyRefused
from tunflow.protocols.contract import Blocked, Outbound
from tunflow.rules.cidr import CIDRSet
from tunflow.stack.icmp import Reason
from tunflow.stack.tcp.connection import TCPConnection

if TYPE_CHECKING:
    from tunflow.dataplane.filtering.flow_filter import FlowFilter
    from tunflow.names.name_server import NameServer

FEW = 4
MANY = 32
"""Packets read from the device before they are served: few super-segments, which must still be in the cache when they
are sent on, and many small packets, which all take the same path through the code."""

READS = 8
BULK_READS = 2
"""Batches before the sockets have their turn, and batches of super-segments."""

FORGIVEN_AFTER = 60.0
"""Seconds after which a server among several is no trouble any more, unless it fails another flow."""

DRAIN_QUIET = 0.05
"""Seconds without a packet after which the clients' kernel has nothing left to send."""

DRAIN_PATIENCE = 10.0
"""Seconds that a far side may take no byte before what is left for it is given up."""

_NO_DESCRIPTOR = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


@dataclass(frozen=True, slots=True)
class NameService:
    """The resolver that the addresses inside the tunnel stand for."""

    resolver: Endpoint
    over_tcp: bool
    """Whether queries go to the resolver by TCP, whatever they came by."""
    neighbours: CIDRSet | None = None
    """Networks whose resolvers it stands for as well: they are on the LAN, and the server does not reach them."""


class Driver:
    """Serves one device through one dialer until closed.

    `descriptors` is how many flows may hold one at a time; what is not a flow (names, pings, a log file) lives on what
    the process has beyond that. With `trace` every flow is told of. A `policy` decides what
    becomes of each flow; without one all go through `dialer`. `find_process` tells it whose a flow is. A `name_server`
    answers whatever goes to port 53, and knows names by addresses; `names` is the small way, for the tunnel's own
    addresses only. All flows together buffer `memory` bytes at most.
    """

    def __init__(
        self,
        reactor: Reactor,
        device: Device,
        dialer: Outbound,
        log: CauseLog,
        names: NameService | None = None,
        trace: Callable[[str], None] | None = None,
        descriptors: int = 960,
        inside: frozenset[bytes] = frozenset(),
        sockets: SocketOptions = UNMARKED,
        policy: Policy | None = None,
        find_process: ProcessFinder | None = None,
        name_server: NameServer | None = None,
        memory: float = inf,
    ) -> None:
        context = FlowContext.on(
            reactor,
            device,
            log,
            trace=trace,
            descriptors=descriptors,
            inside=inside,
            sockets=sockets,
            memory=memory,
        )
        self.context = context
        self.reactor = reactor
        self.stack = context.stack
        self.statistics = context.statistics
        self.log = log
        self.sockets = sockets
        self.dialer = dialer
        self.policy = policy
        self.find_process = find_process
        self.find_hardware: HardwareFinder | None = None
        """Tells the devices of a LAN by their hardware addresses; None where there is no LAN behind this host."""
        self.name_server = name_server
        self.filter: FlowFilter | None = None
        """Who sees every flow before the policy does."""
        self.datagrams = DatagramFlows(self)
        self.names = names
        self.dns = self._forwarder()
        self._pinger = Pinger(context, lambda: self.dialer, self._is_fake)
        self._queue = StandingQueue(self.stack.budget)
        self._postponed = 0
        self._batch = FEW
        reactor.add(device.fileno(), READ, self._on_device)
        reactor.add_deadline(self.stack.next_timeout, self.stack.handle_timeout)
        reactor.add_deadline(context.openings.next_timeout, context.openings.handle_timeout)
        reactor.at_round_end(self._end_of_round)

    def use(self, dialer: Outbound, names: NameService | None, policy: Policy | None = None) -> None:
        """Take new flows and queries there from now on; those that are under way go on as they began."""
        self.dialer, self.names, self.policy = dialer, names, policy
        self.context.servers.troubles.clear()
        old, self.dns = self.dns, self._forwarder()
        if old is not None:
            self.reactor.call_later(QUERY_TIMEOUT, old.close)

    def _forwarder(self) -> DNSForwarder | None:
        if self.names is None or not self.names.over_tcp:
            return None
        resolver = self.names.resolver
        return DNSForwarder(self.reactor, self.dialer, resolver, secrets.randbits, self._dns_failed, self.sockets)

    def close(self) -> None:
        """Stop reading the device; flows end with the process."""
        with contextlib.suppress(OSError):
            self.reactor.remove(self.context.device.fileno())
        self._pinger.close()
        if self.dns is not None:
            self.dns.close()
        if self.name_server is not None:
            self.name_server.close()

    def drain(self) -> None:
        """The clients are gone: deliver what they sent before they went.

        Their kernel still sends what they left in its buffers, then FIN. That is over when the device is quiet and no
        relay holds bytes; a far side that takes none for a while is given up.
        """
        reactor = self.reactor
        deadline = reactor.now + DRAIN_PATIENCE
        moved = self.statistics.tcp_bytes_up
        while any(not relay.done_up for relay in self.context.slots.relays) and reactor.now < deadline:
            quiet = not any(relay.holds_bytes for relay in self.context.slots.relays)
            seen = self.stack.segments
            before = reactor.now
            reactor.run_once(DRAIN_QUIET)
            if quiet and self.stack.segments == seen and reactor.now - before >= DRAIN_QUIET:
                return
            if self.statistics.tcp_bytes_up != moved:
                moved = self.statistics.tcp_bytes_up
                deadline = reactor.now + DRAIN_PATIENCE

    def final_statistics(self) -> Statistics:
        """The statistics, with what the stack counted."""
        stack = self.stack
        self.statistics.retransmissions = stack.retransmissions
        self.statistics.refused_packets = stack.dropped + stack.udp.dropped + stack.icmp.dropped
        return self.statistics

    # The device's side.

    def _on_device(self, _: int) -> None:
        device, stack = self.context.device, self.stack
        left = READS
        try:
            while left > 0:
                limit = self._batch
                packets = device.read(limit)
                if not packets:
                    break
                is_bulk = self._queue.is_bulk(packets, self.reactor.now)
                self._batch = FEW if is_bulk else MANY
                if is_bulk:
                    self.reactor.sleep_next()
                stack.receive(packets, device.vnet_offset, self.reactor.now)
                self._serve_stack()
                if len(packets) < limit:
                    break
                left -= READS // BULK_READS if is_bulk else 1
            self._queue.end_round(left > 0, self.reactor.now)
        except EOFError:
            self.log.tell("device gone", f"the device {device.name} is gone")
            self.reactor.remove(device.fileno())
            self.reactor.stop()

    def _end_of_round(self) -> None:
        self.context.turns.serve_starved()
        self._serve_stack()
        if self.stack.postponed != self._postponed:
            self._postponed = self.stack.postponed
            self.log.tell("memory", "the memory limit leaves no room for more flows: new ones wait (--memory-limit)")
        self.stack.flush()
        self.context.write()

    def _serve_stack(self) -> None:
        """Take away everything that appeared in the stack."""
        stack = self.stack
        while stack.requests or stack.changed:
            requests, stack.requests = stack.requests, []
            for connection in requests:
                self._open_stream(connection)
            changed, stack.changed = stack.changed, []
            for connection in changed:
                connection.notified = False
                if connection.user is not None:
                    connection.user.service()
        if stack.udp.arrivals:
            for run in stack.udp.take_arrivals():
                self.datagrams.send(run)
        if stack.udp.expired:
            expired, stack.udp.expired = stack.udp.expired, []
            for mapping in expired:
                if mapping.user is not None:
                    mapping.user.close()
        if stack.icmp.echo_requests:
            echo_requests, stack.icmp.echo_requests = stack.icmp.echo_requests, []
            for request in echo_requests:
                self.statistics.echo_requests += 1
                self._pinger.ask(request)

    def is_inside(self, address: bytes) -> bool:
        """Whether an address is the tunnel's own."""
        return address in self.stack.own

    def _is_fake(self, address: bytes) -> bool:
        """Whether an address only stands for a name."""
        return self.name_server is not None and self.name_server.is_fake(address)

    @property
    def troubles(self) -> list[Trouble]:
        """What does not work now: servers that fail flows, names that nobody answers.

        Where there are several servers, groups lead flows away from one that fails: it counts while it fails some.
        """
        names = self.name_server if self.name_server is not None else self.dns
        found = [
            *self.context.servers.troubles.values(),
            *((names.trouble,) if names is not None and names.trouble else ()),
        ]
        begin = self.reactor.now - FORGIVEN_AFTER if self.policy is not None else -inf
        return [trouble for trouble in found if trouble.counts and trouble.last >= begin]

    def answers_for(self, target: Endpoint) -> bool:
        """Whether what goes to `target` ends here: at the tunnel's own addresses, or as a query for a neighbour."""
        assert isinstance(target.host, bytes)
        if target.port != DNS_PORT or self.names is None or self.names.neighbours is None:
            return self.is_inside(target.host)
        return self.is_inside(target.host) or target.host in self.names.neighbours

    def _open_stream(self, connection: TCPConnection) -> None:
        target = connection.target
        if connection.closed:
            return
        self.statistics.tcp_flows += 1
        hostname: str | None = None
        if self.name_server is not None:
            assert isinstance(target.host, bytes)
            assert isinstance(connection.client.host, bytes)
            if target.port == DNS_PORT:
                self.decide_stream(connection, self.name_server.hand)
                return
            hostname = self.name_server.name_of(connection.client.host, target.host)
            if self.name_server.blocks(target, hostname):
                self._refuse_stream(connection, Refuse.RESET)
                return
        if self.answers_for(target):
            if target.port != DNS_PORT or self.names is None:
                connection.reject(reset=True)
                return
            target = self.names.resolver
            self._carry_stream(connection, self.dialer, target)
        elif self.filter is None and self.policy is None:
            self._carry_stream(connection, self.dialer, target)
        else:
            flow = FlowInfo(TCP, connection.client, target, hostname, self.find_process)
            if self.filter is not None:
                self.filter.open_stream(flow, connection)
            else:
                self.route_stream(flow, connection)

    def route_stream(self, flow: FlowInfo, connection: ClientStream) -> None:
        """Have the policy, if there is one, say what becomes of a connection that may begin."""
        if self.policy is None:
            self._carry_stream(connection, self.dialer, flow.target)
            return
        decision = self.policy.stream(flow, connection)
        if decision is not None:
            self.decide_stream(connection, decision)

    def decide_stream(self, connection: ClientStream, decision: Decision) -> None:
        """What becomes of a connection that nobody owns yet, or whose owner gives it back."""
        if connection.closed:
            return
        connection.user = None
        if isinstance(decision, Carry):
            self._carry_stream(connection, decision.dialer, decision.target)
        elif isinstance(decision, Refuse):
            self._refuse_stream(connection, decision)
        else:
            assert decision.stream is not None, "a stream was handed to an owner of datagrams"
            connection.user = decision.stream(self, connection)

    def _carry_stream(self, connection: ClientStream, dialer: Outbound, target: Endpoint) -> None:
        if self.name_server is not None:
            outside = self.name_server.outside(target, dialer, lambda found: self._resolved(connection, dialer, found))
            if outside is None:
                return
            target = outside
        try:
            self.context.slots.claim()
            if dialer.wants_flow:
                flow = FlowInfo(TCP, connection.client, connection.target, find=self.find_process)
                route = dialer.stream(target, flow)
            else:
                route = dialer.stream(target)
            connection.user = TCPRelay(self.context, connection, route)
        except Blocked:
            self._refuse_stream(connection, Refuse.PROHIBITED)
        except ProxyRefused as refused:
            self.statistics.tcp_failed += 1
            self.log.tell(f"cannot {dialer.label} {refused.refusal}", f"{dialer.label}: some targets: {refused}")
            self._refuse_stream(connection, Refuse.RESET)
        except OSError as error:
            self.statistics.tcp_failed += 1
            if error.errno in _NO_DESCRIPTOR:
                # Like a full backlog: the client sends its SYN again, and by then a flow may have ended.
                self.tell_full(error)
                self._refuse_stream(connection, Refuse.DROP)
            else:
                self._refuse_stream(connection, Refuse.RESET)
        else:
            if dialer.addresses:
                self.context.servers.asked(dialer.label)

    def _resolved(self, connection: ClientStream, dialer: Outbound, target: Endpoint | None) -> None:
        """The address of a stream's target is known now, or that there is none."""
        if connection.closed:
            return
        if target is not None:
            self._carry_stream(connection, dialer, target)
            return
        if connection.held:
            self.stack.unreachable(connection.syn, Reason.HOST, self.reactor.now)
        self._refuse_stream(connection, Refuse.DROP)

    def _refuse_stream(self, connection: ClientStream, how: Refuse) -> None:
        if not connection.held:
            connection.abort()  # it was let in already, so all that is left is a reset
            return
        if how is Refuse.PROHIBITED:
            self.stack.unreachable(connection.syn, Reason.ADMIN_PROHIBITED, self.reactor.now)
        connection.reject(reset=how is Refuse.RESET)

    def _dns_failed(self, why: str) -> None:
        assert self.names is not None
        self.log.tell(f"dns {why}", f"names cannot be looked up: the resolver {self.names.resolver}: {why}")

    def tell_full(self, error: OSError) -> None:
        """There is no descriptor for another flow."""
        self.log.tell(
            "full",
            f"no room for more flows ({os.strerror(error.errno or 0)}, {self.stack.connections} open): new ones wait; "
            "raise the limit with ulimit -n",
        )
