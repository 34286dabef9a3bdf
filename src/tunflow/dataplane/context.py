"""What a flow may touch: the loop, its client's side, the descriptors, and where to tell of what happens.

Nothing here decides anything (`dataplane.admission` does), and whoever holds a context cannot reach the driver.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Self, TypeAlias

from tunflow.dataplane.server_watch import ServerWatch
from tunflow.dataplane.slots import Slots
from tunflow.dataplane.statistics import Statistics
from tunflow.dataplane.tcp.dials import Dials
from tunflow.dataplane.tcp.openings import Openings
from tunflow.dataplane.turns import Turns
from tunflow.device import Device
from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.reactor import Reactor
from tunflow.loop.sockets import UNMARKED, SocketOptions
from tunflow.stack.budget import MemoryBudget
from tunflow.stack.icmp import Reason
from tunflow.stack.stack import Stack
from tunflow.stack.udp import UDPMapping, UDPRun

if TYPE_CHECKING:
    from tunflow.dataplane.flow_book import FlowBook

SCRATCH = 256 * 1024
"""Bytes of the buffer in which sealed bytes of all flows are received."""

DESCRIPTORS = 960
"""Of flows, if nothing else is said: what the usual limit of 1,024 leaves them."""

Trace = Callable[[str], None]

Scratch: TypeAlias = memoryview
"""(mypyc 2.4 does not find the bare name in a dataclass.)"""


@dataclass(slots=True, eq=False)
class FlowContext:
    """All that a flow may touch; one for each device."""

    reactor: Reactor
    device: Device
    stack: Stack
    sockets: SocketOptions
    """Of what flows open."""
    statistics: Statistics
    servers: ServerWatch
    log: CauseLog
    trace: Trace | None
    """Is told of every flow, where somebody wants to know."""
    scratch: Scratch
    """To receive in; what lies in it is gone when the next socket is served."""
    openings: Openings
    dials: Dials
    turns: Turns
    slots: Slots
    book: FlowBook | None
    """Of the flows of now, where somebody shows them."""

    @classmethod
    def on(
        cls,
        reactor: Reactor,
        device: Device,
        log: CauseLog,
        *,
        trace: Trace | None = None,
        descriptors: int = DESCRIPTORS,
        inside: frozenset[bytes] = frozenset(),
        sockets: SocketOptions = UNMARKED,
        memory: float = inf,
        book: FlowBook | None = None,
    ) -> Self:
        """Return a context with a fresh stack for a device.

        `descriptors` is how many flows may hold one at a time; what is not a flow (names, pings, a log file) lives on
        what the process has beyond that. `inside` are the tunnel's own addresses, packed. All flows together buffer
        `memory` bytes at most.
        """
        stack = Stack(device.mtu, os.urandom(32), inside, MemoryBudget(memory))
        statistics, slots = Statistics(), Slots(reactor, descriptors)
        return cls(
            reactor,
            device,
            stack,
            sockets,
            statistics,
            ServerWatch(reactor, log, statistics),
            log,
            trace,
            memoryview(bytearray(SCRATCH)),
            Openings(),
            Dials(reactor),
            Turns(reactor, slots.relays),
            slots,
            book,
        )

    def write(self) -> None:
        """Hand what the stack put out to the device."""
        stack = self.stack
        if stack.outgoing:
            packets, stack.outgoing = stack.outgoing, []
            with suppress(EOFError):  # the device is gone, which the next read tells
                self.device.write(packets)

    def forget_client(self, mapping: UDPMapping) -> None:
        """Give back what serves a client's UDP socket; what it sends next is new."""
        self.stack.udp.close(mapping)
        if mapping.user is not None:
            mapping.user.close()

    def deliver(self, mapping: UDPMapping, source: Endpoint, payloads: Sequence[Buffer], gso_size: int = 0) -> None:
        """Bring a client's socket one datagram from `source`, or several in one packet (`UDPTable.datagrams`).

        A source that no packet can name (a host name, the other address family) is dropped and counted.
        """
        stack = self.stack
        try:
            packet = stack.udp.datagrams(mapping, source, payloads, gso_size, self.reactor.now)
        except BadPacket:
            self.statistics.udp_dropped += len(payloads)
            return
        self.statistics.udp_bytes_down += sum(map(len, payloads))
        stack.outgoing.append(packet)

    def undelivered(self, run: UDPRun, reason: Reason) -> None:
        """Tell the client why its datagrams go nowhere: once, for the first of them."""
        flow = run.flow
        message = reason.error(is_ipv4=len(flow.target.host) == 4)
        payload = run.payloads[0]
        self.stack.datagram_undelivered(flow.mapping.client, flow.target, payload, message, self.reactor.now)
