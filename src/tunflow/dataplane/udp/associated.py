"""A UDP relay whose way servers give on request (SOCKS5's UDP ASSOCIATE): the streams that it hangs on, and itself.

Rules: datagrams wait, few of them, while the servers are asked; the association ends with any of its streams (RFC 1928
§7: "A UDP association terminates when the TCP connection that the UDP ASSOCIATE request arrived on terminates") and
begins anew with the client's next datagram; servers that refused are left in peace for a while, and clients are told at
once.
"""

from __future__ import annotations

from collections.abc import Callable

from tunflow.contained import Contained
from tunflow.dataplane.context import FlowContext
from tunflow.dataplane.udp.framed import FramedRelay
from tunflow.dataplane.udp.relay import CarriedFlow, UDPRelay
from tunflow.endpoint import Endpoint
from tunflow.loop.path import Path
from tunflow.loop.reactor import Timer
from tunflow.outbound.held_association import HeldAssociation
from tunflow.protocols.contract import Association, DatagramRoute, DatagramWay, StandingWay
from tunflow.stack.icmp import Reason
from tunflow.stack.udp import UDPMapping, UDPRun

WAITING = 32
"""Runs of datagrams kept while servers are asked; more are dropped, as a full queue would."""

PATIENCE = 15.0
"""Seconds for all of them to agree."""

LEFT_IN_PEACE = 60.0
"""Seconds after a refusal without asking again."""


class AssociatedRelay(Contained):
    """Stands in for a `UDPRelay`; `plan` makes a new route whenever the old one was used up."""

    def __init__(
        self,
        context: FlowContext,
        mapping: UDPMapping,
        plan: Callable[[], DatagramWay],
        seen: Endpoint | None,
    ) -> None:
        self._context = context
        self._mapping = mapping
        self._plan = plan
        self._seen = seen
        self._label = ""
        self._association: HeldAssociation | None = None
        self._waiting: list[tuple[UDPRun, CarriedFlow]] = []
        self._translated: dict[Endpoint, Endpoint] = {}
        self._relay: UDPRelay | FramedRelay | None = None
        self._refused_at: float | None = None
        self._timer: Timer | None = None
        self._ask()

    @property
    def path(self) -> Path | None:
        """As `UDPRelay.path`."""
        return None if self._relay is None else self._relay.path

    def translate(self, inside: Endpoint, outside: Endpoint) -> None:
        """As `UDPRelay.translate`."""
        self._translated[inside] = outside
        if self._relay is not None:
            self._relay.translate(inside, outside)

    def send(self, run: UDPRun, flow: CarriedFlow) -> None:
        """As `UDPRelay.send`."""
        if self._relay is not None:
            self._relay.send(run, flow)
            return
        if self._refused_at is not None:
            if self._context.reactor.now < self._refused_at + LEFT_IN_PEACE:
                self._drop(run)
                return
            self._refused_at = None
        if self._association is None:
            self._ask()
        if len(self._waiting) < WAITING:
            self._waiting.append((run, flow))

    def close(self) -> None:
        """Give everything back."""
        self._waiting.clear()
        self._leave()

    @property
    def about(self) -> str:
        """As `Contained.about`."""
        return f"udp {self._mapping.client}"

    def cut(self) -> None:
        """As `Contained.cut`."""
        self.close()
        self._context.forget_client(self._mapping)

    # The servers.

    def _ask(self) -> None:
        association = self._plan()
        assert isinstance(association, Association)
        context = self._context
        self._label = association.label
        self._timer = context.reactor.call_later(PATIENCE, lambda: self._lost("no answer"))
        held = HeldAssociation(context.reactor, association, self._agreed, self._lost, context.sockets)
        self._association = held
        context.slots.associations += len(held)

    def _agreed(self, way: StandingWay) -> None:
        """There is a way. Raises OSError."""
        if isinstance(way, DatagramRoute):
            self._relay = UDPRelay(self._context, self._mapping, way, self._seen)
        else:
            self._relay = FramedRelay(self._context, self._mapping, way, self._seen)
        self._cancel_timer()
        for inside, outside in self._translated.items():
            self._relay.translate(inside, outside)
        waiting, self._waiting = self._waiting, []
        for run, flow in waiting:
            self._relay.send(run, flow)

    def _lost(self, why: str) -> None:
        """A server refused, or ended the association."""
        waiting, self._waiting = self._waiting, []
        if self._relay is None:
            self._refused_at = self._context.reactor.now
            self._context.log.tell(f"no udp {self._label} {why}", f"{self._label} carries no UDP: {why}")
        self._leave()
        for run, _ in waiting:
            self._drop(run)

    def _leave(self) -> None:
        self._cancel_timer()
        if self._association is not None:
            self._association.close()
            self._context.slots.associations -= len(self._association)
            self._association = None
        if self._relay is not None:
            self._relay.close()
            self._relay = None

    def _drop(self, run: UDPRun) -> None:
        self._context.statistics.udp_dropped += 1
        self._context.undelivered(run, Reason.PORT)  # so that QUIC falls back to TCP at once

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
