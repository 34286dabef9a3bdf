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

from tunflow.device import Device
from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.io.cause_log import CauseLog
from tunflow.io.dialer import Blocked
from tunflow.io.dialers import Dialer
from tunflow.io.dns import DNSForwarder
from tunflow.io.openings import Openings
from tunflow.io.ping import Pinger
from tunflow.io.reactor import READ, Reactor
from tunflow.io.statistics import Statistics
from tunflow.io.tcp_relay import SILENCE, TCPRelay
from tunflow.io.udp_relay import UDPRelay
from tunflow.stack.icmp import Reason
from tunflow.stack.stack import Stack
from tunflow.stack.tcp.connection import TCPConnection
from tunflow.stack.udp import UDPMapping, UDPRun

FEW = 4
MANY = 32
"""Packets read from the device before they are served: few super-segments, which must still be in the cache when they
are sent on, and many small packets, which all take the same path through the code."""

LARGE = 16 * 1024
"""Bytes of a packet from which on it counts as a super-segment."""

READS = 8
"""Batches before the sockets have their turn."""

SCRATCH = 256 * 1024
"""Bytes of the buffer in which sealed bytes of all flows are received."""

SETTLED_AFTER = 30.0
"""Seconds after a flow began until those that last are looked at."""

DRAIN_QUIET = 0.05
"""Seconds without a packet after which the clients' kernel has nothing left to send."""

DRAIN_PATIENCE = 10.0
"""Seconds that a far side may take no byte before what is left for it is given up."""

DNS_PORT = 53
_NO_DESCRIPTOR = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


@dataclass(frozen=True, slots=True)
class NameService:
    """The resolver that the addresses inside the tunnel stand for."""

    resolver: Endpoint
    over_tcp: bool
    """Whether queries go to the resolver by TCP, whatever they came by."""


class Driver:
    """Serves one device through one dialer until closed.

    `descriptors` is how many flows may hold one at a time; what is not a flow (names, pings, a log file) lives on what
    the process has beyond that. With `trace` every flow is told of.
    """

    def __init__(
        self,
        reactor: Reactor,
        device: Device,
        dialer: Dialer,
        log: CauseLog,
        names: NameService | None = None,
        trace: Callable[[str], None] | None = None,
        descriptors: int = 960,
        inside: frozenset[bytes] = frozenset(),
    ) -> None:
        self.reactor = reactor
        self.device = device
        self.dialer = dialer
        self.label = dialer.label
        self.log = log
        self.trace = trace
        self._descriptors = descriptors
        self._associations = 0
        self.relays: set[TCPRelay] = set()
        """Those whose socket is open."""
        self.stack = Stack(device.mtu, os.urandom(32), inside)
        self.statistics = Statistics()
        self.scratch = memoryview(bytearray(SCRATCH))
        self._names = names
        self._dns: DNSForwarder | None = None
        if names is not None and names.over_tcp:
            self._dns = DNSForwarder(reactor, dialer, names.resolver, secrets.randbits, self._dns_failed)
        self.openings = Openings()
        self._settling = False
        self._pinger = Pinger(self)
        self._waiting: list[TCPRelay] = []
        self._batch = FEW
        self._answered = False
        self._silence_watched = False
        reactor.add(device.fileno(), READ, self._on_device)
        reactor.add_deadline(self.stack.next_timeout, self.stack.handle_timeout)
        reactor.add_deadline(self.openings.next_timeout, self.openings.handle_timeout)
        reactor.at_round_end(self._end_of_round)

    def close(self) -> None:
        """Stop reading the device; flows end with the process."""
        with contextlib.suppress(OSError):
            self.reactor.remove(self.device.fileno())
        self._pinger.close()
        if self._dns is not None:
            self._dns.close()

    def drain(self) -> None:
        """The clients are gone: deliver what they sent before they went.

        Their kernel still sends what they left in its buffers, then FIN. That is over when the device is quiet and no
        relay holds bytes; a far side that takes none for a while is given up.
        """
        reactor = self.reactor
        deadline = reactor.now + DRAIN_PATIENCE
        moved = self.statistics.tcp_bytes_up
        while any(not relay.done_up for relay in self.relays) and reactor.now < deadline:
            quiet = not any(relay.holds_bytes for relay in self.relays)
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

    # What relays need.

    def write(self) -> None:
        """Hand what the stack put out to the device."""
        stack = self.stack
        if stack.outgoing:
            packets, stack.outgoing = stack.outgoing, []
            self.device.write(packets)

    def add_relay(self, relay: TCPRelay) -> None:
        """The relay's socket is open."""
        self.relays.add(relay)
        if not self._settling:
            self._settling = True
            self.reactor.call_later(SETTLED_AFTER, self._keep_settled_alive)

    def _keep_settled_alive(self) -> None:
        """Flows have lasted: most are over long before it would pay to do this for each."""
        self._settling = False
        for relay in self.relays:
            relay.keep_alive()

    def again(self, relay: TCPRelay) -> None:
        """The relay has more to do, after the others had their turn."""
        if not self._waiting:
            self.reactor.call_soon(self._serve_waiting)
        self._waiting.append(relay)

    def proxy_failed(self, error: int) -> None:
        """The proxy could not be reached."""
        self.log.tell(
            f"proxy {error}",
            f"cannot reach the server {self.label}: {os.strerror(error)}; check its address and port, and that it runs",
        )

    def proxy_garbled(self, error: BadPacket, heard: bool) -> None:
        """The proxy sent what does not decode."""
        advice = "the flow is reset" if heard else "check the password and method"
        self.log.tell(f"garbled {error}", f"the server {self.label} sent what cannot be read ({error}); {advice}")

    def proxy_answered(self) -> None:
        """The proxy sent something that decodes: password and method are right."""
        self._answered = True

    def proxy_closed_unheard(self) -> None:
        """The proxy closed a flow without a byte."""
        if not self._answered:
            self._advise("closed a connection without an answer")

    # The device's side.

    def _on_device(self, _: int) -> None:
        device = self.device
        stack = self.stack
        try:
            for _ in range(READS):
                limit = self._batch
                packets = device.read(limit)
                if not packets:
                    return
                self._batch = FEW if len(packets[-1]) >= LARGE else MANY
                stack.receive(packets, device.vnet_offset, self.reactor.now)
                self._serve_stack()
                if len(packets) < limit:
                    return
        except EOFError:
            self.log.tell("device gone", f"the device {device.name} is gone")
            self.reactor.remove(device.fileno())
            self.reactor.stop()

    def _end_of_round(self) -> None:
        self._serve_stack()
        self.stack.flush()
        self.write()

    def _serve_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for relay in waiting:
            relay.service()

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
                self._send_datagrams(run)
        if stack.udp.expired:
            expired, stack.udp.expired = stack.udp.expired, []
            for mapping in expired:
                if mapping.user is not None:
                    mapping.user.close()
                    self._associations -= 1
        if stack.icmp.echo_requests:
            echo_requests, stack.icmp.echo_requests = stack.icmp.echo_requests, []
            for request in echo_requests:
                self.statistics.echo_requests += 1
                self._pinger.ask(request)

    def is_inside(self, address: bytes) -> bool:
        """Whether an address is the tunnel's own."""
        return address in self.stack.own

    def undelivered(self, run: UDPRun, reason: Reason) -> None:
        """Tell the client why its datagrams go nowhere: once, for the first of them."""
        flow = run.flow
        message = reason.error(is_ipv4=len(flow.target.host) == 4)
        payload = run.payloads[0]
        self.stack.datagram_undelivered(flow.mapping.client, flow.target, payload, message, self.reactor.now)

    def _open_stream(self, connection: TCPConnection) -> None:
        target = connection.target
        if connection.closed:
            return
        self.statistics.tcp_flows += 1
        assert isinstance(target.host, bytes)
        if self.is_inside(target.host):
            if target.port != DNS_PORT or self._names is None:
                connection.reject(reset=True)
                return
            target = self._names.resolver
        try:
            self._claim_descriptor()
            connection.user = TCPRelay(self, connection, self.dialer.route(target))
        except Blocked:
            self.stack.unreachable(connection.syn, Reason.ADMIN_PROHIBITED, self.reactor.now)
            connection.reject(reset=False)
        except OSError as error:
            self.statistics.tcp_failed += 1
            if error.errno in _NO_DESCRIPTOR:
                # Like a full backlog: the client sends its SYN again, and by then a flow may have ended.
                self._tell_full(error)
                connection.reject(reset=False)
            else:
                connection.reject(reset=True)
        else:
            self._watch_silence()

    def _send_datagrams(self, run: UDPRun) -> None:
        mapping, target = run.flow.mapping, run.flow.target
        assert isinstance(target.host, bytes)
        inside = self.is_inside(target.host)
        if inside and (target.port != DNS_PORT or self._names is None):
            self.undelivered(run, Reason.PORT)
            return
        if inside and self._dns is not None:
            for query in run.datagrams():
                self.statistics.dns_queries += 1
                self._dns.query(bytes(query), self._dns_reply(mapping, target))
            return
        relay: UDPRelay | None = mapping.user
        if relay is None:
            try:
                self._claim_descriptor()
                relay = mapping.user = UDPRelay(self, mapping, self.dialer.datagram_route())
            except Blocked:
                self.statistics.udp_dropped += 1
                self.undelivered(run, Reason.ADMIN_PROHIBITED)
                return
            except OSError as error:
                self.statistics.udp_dropped += 1
                self._tell_full(error)
                return
            self.statistics.udp_flows += 1
            self._associations += 1
        if inside:
            assert self._names is not None
            self.statistics.dns_queries += sum(1 for _ in run.datagrams())
            relay.translate(target, self._names.resolver)
            target = self._names.resolver
        relay.send(run, target)

    def _dns_reply(self, mapping: UDPMapping, source: Endpoint) -> Callable[[Buffer], None]:
        def reply(message: Buffer) -> None:
            with contextlib.suppress(BadPacket):  # an answer too long for IP
                self.stack.outgoing.append(self.stack.udp.datagram(mapping, source, message, self.reactor.now))

        return reply

    def _dns_failed(self, why: str) -> None:
        assert self._names is not None
        self.log.tell(f"dns {why}", f"names cannot be looked up: the resolver {self._names.resolver}: {why}")

    def _claim_descriptor(self) -> None:
        """Raises OSError when flows hold as many descriptors as they may."""
        if len(self.relays) + self._associations >= self._descriptors:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    def _tell_full(self, error: OSError) -> None:
        self.log.tell(
            "full",
            f"no room for more flows ({os.strerror(error.errno or 0)}, {self.stack.connections} open): new ones wait; "
            "raise the limit with ulimit -n",
        )

    # A proxy with a wrong password looks like a silent one.

    def _watch_silence(self) -> None:
        if self.dialer.is_proxy and not self._answered and not self._silence_watched:
            self._silence_watched = True
            self.reactor.call_later(SILENCE, self._check_silence)

    def _check_silence(self) -> None:
        self._silence_watched = False
        if not self._answered and self.statistics.tcp_bytes_up:
            self._advise(f"took connections but has sent nothing for {SILENCE:.0f} s")

    def _advise(self, what: str) -> None:
        self.log.tell(
            "unheard",
            f"the server {self.label} {what}; if this goes on, check the password and method "
            "(a server does not answer what it cannot decrypt)",
        )
