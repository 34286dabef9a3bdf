"""The driver: owns the device, the stack and everything that a flow needs outside.

One round: the device's packets go into the stack; the stack's requests become relays; relays move bytes; at the end of
the round ACKs are flushed and what the stack put out is written to the device. Protocol machines never see a socket or
a clock, and nothing here looks into a packet.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from math import inf

from tunflow.contained import Lost
from tunflow.dataplane.admission import Admission
from tunflow.dataplane.context import FlowContext
from tunflow.dataplane.ping import Pinger
from tunflow.dataplane.standing_queue import StandingQueue
from tunflow.dataplane.statistics import Statistics
from tunflow.dataplane.tcp.new_stream import NewStream
from tunflow.dataplane.udp.new_datagrams import NewDatagrams
from tunflow.loop.reactor import READ
from tunflow.loop.stack_round import flush, receive, serve_changed
from tunflow.loop.trouble import Trouble
from tunflow.stack.icmp import EchoRequest
from tunflow.stack.tcp.connection import Connection
from tunflow.stack.udp import UDPMapping, UDPRun

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

_A_PACKET = Lost("a packet")
_A_PING = Lost("a ping")
_A_SILENT_SOCKET = Lost("the end of a client's UDP socket")


class Driver:
    """Serves a context's device until closed; `admission` says what becomes of each flow."""

    def __init__(self, context: FlowContext, admission: Admission) -> None:
        self.context = context
        self.admission = admission
        self._stack = stack = context.stack
        self._pinger = Pinger(context, admission.ping_dialer, admission.is_fake, admission.may_ping)
        self._queue = StandingQueue(stack.budget)
        self._postponed = 0
        self._batch = FEW
        self._packets = 0
        """Read from the device."""
        reactor = context.reactor
        reactor.add(context.device.fileno(), READ, self._on_device)
        reactor.add_deadline(stack.next_timeout, stack.handle_timeout)
        reactor.add_deadline(context.openings.next_timeout, context.openings.handle_timeout)
        reactor.at_round_end(self._end_of_round)

    def close(self) -> None:
        """Stop reading the device; flows end with the process."""
        with contextlib.suppress(OSError):
            self.context.reactor.remove(self.context.device.fileno())
        self._pinger.close()
        self.admission.close()

    def drain(self) -> None:
        """The clients are gone: deliver what they sent before they went.

        Their kernel still sends what they left in its buffers, then FIN. That is over when the device is quiet and no
        relay holds bytes; a far side that takes none for a while is given up.
        """
        reactor, statistics, relays = self.context.reactor, self.context.statistics, self.context.slots.relays
        deadline = reactor.now + DRAIN_PATIENCE
        moved = statistics.tcp_bytes_up
        while any(not relay.done_up for relay in relays) and reactor.now < deadline:
            quiet = not any(relay.holds_bytes for relay in relays)
            seen = self._packets
            before = reactor.now
            reactor.run_once(DRAIN_QUIET)
            if quiet and self._packets == seen and reactor.now - before >= DRAIN_QUIET:
                return
            if statistics.tcp_bytes_up != moved:
                moved = statistics.tcp_bytes_up
                deadline = reactor.now + DRAIN_PATIENCE

    def final_statistics(self) -> Statistics:
        """The statistics, with what the stack counted."""
        stack, statistics = self._stack, self.context.statistics
        statistics.retransmissions = stack.retransmissions
        statistics.internal_errors = self.context.reactor.internal_errors
        statistics.refused_packets = stack.dropped + stack.udp.dropped + stack.icmp.dropped
        return statistics

    @property
    def troubles(self) -> list[Trouble]:
        """What does not work now: servers that fail flows, names that nobody answers.

        Where there are several servers, groups lead flows away from one that fails: it counts while it fails some.
        """
        names = self.admission.names
        found = list(self.context.servers.troubles.values())
        if names is not None and names.trouble is not None:
            found.append(names.trouble)
        begin = self.context.reactor.now - FORGIVEN_AFTER if self.admission.policy is not None else -inf
        return [trouble for trouble in found if trouble.counts and trouble.last >= begin]

    # The device's side.

    def _on_device(self, _: int) -> None:
        context = self.context
        device, stack, reactor = context.device, self._stack, context.reactor
        left = READS
        try:
            while left > 0:
                limit = self._batch
                packets = device.read(limit)
                if not packets:
                    break
                is_bulk = self._queue.is_bulk(packets, reactor.now)
                self._batch = FEW if is_bulk else MANY
                if is_bulk:
                    reactor.sleep_next()
                self._packets += len(packets)
                receive(stack, packets, device.vnet_offset, reactor, _A_PACKET)
                self._serve_stack()
                if len(packets) < limit:
                    break
                left -= READS // BULK_READS if is_bulk else 1
            self._queue.end_round(left > 0, reactor.now)
        except EOFError:
            context.log.tell("device gone", f"the device {device.name} is gone")
            reactor.remove(device.fileno())
            reactor.stop()

    def _end_of_round(self) -> None:
        context, stack = self.context, self._stack
        stack.wake_starved()
        self._serve_stack()
        if stack.postponed != self._postponed:
            self._postponed = stack.postponed
            context.log.tell("memory", "the memory limit leaves no room for more flows: new ones wait (--memory-limit)")
        flush(stack, context.reactor)
        context.write()

    def _serve_stack(self) -> None:
        """Take away everything that appeared in the stack."""
        stack = self._stack
        while stack.requests or stack.changed:
            if stack.requests:
                requests, stack.requests = stack.requests, []
                self._open_streams(requests)
            if stack.changed:
                changed, stack.changed = stack.changed, []
                serve_changed(changed, self.context.reactor)
        if stack.udp.arrivals:
            self._serve_datagrams(stack.udp.take_arrivals())
        if stack.udp.expired:
            expired, stack.udp.expired = stack.udp.expired, []
            self._close_expired(expired)
        if stack.icmp.echo_requests:
            echo_requests, stack.icmp.echo_requests = stack.icmp.echo_requests, []
            self._answer_pings(echo_requests)

    # Each of these goes on with what is behind the one in which a bug was met.

    def _open_streams(self, connections: Iterable[Connection]) -> None:
        context, admission = self.context, self.admission
        left = iter(connections)
        while True:
            try:
                for connection in left:
                    if not connection.closed:
                        context.statistics.tcp_flows += 1
                        admission.admit(NewStream(context, admission, connection))
                return
            except Exception as error:
                context.reactor.contain(error, connection)

    def _serve_datagrams(self, runs: Iterable[UDPRun]) -> None:
        context, admission = self.context, self.admission
        left = iter(runs)
        while True:
            try:
                for run in left:
                    flow = run.flow
                    if flow.user is None:
                        admission.admit(NewDatagrams(context, admission, run))
                    if flow.user is not None:
                        flow.user.send(run)
                return
            except Exception as error:
                context.reactor.contain(error, NewDatagrams(context, admission, run))

    def _close_expired(self, mappings: Iterable[UDPMapping]) -> None:
        left = iter(mappings)
        while True:
            try:
                for mapping in left:
                    if mapping.user is not None:
                        mapping.user.close()
                return
            except Exception as error:
                self.context.reactor.contain(error, _A_SILENT_SOCKET)

    def _answer_pings(self, requests: Iterable[EchoRequest]) -> None:
        left = iter(requests)
        while True:
            try:
                for request in left:
                    self.context.statistics.echo_requests += 1
                    self._pinger.ask(request)
                return
            except Exception as error:
                self.context.reactor.contain(error, _A_PING)
