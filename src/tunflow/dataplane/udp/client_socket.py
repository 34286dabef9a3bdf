"""How one client socket's UDP is shared out: relays by dialer, and what each of its flows does with datagrams.

`UDPMapping.user` is a `UDPSocket`, `UDPFlow.user` one of the owners below (or a stranger's, see `dataplane.decision`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from tunflow.contained import Contained
from tunflow.dataplane.context import FlowContext
from tunflow.dataplane.udp.relay import CarriedFlow, UDPRelay
from tunflow.endpoint import Endpoint
from tunflow.loop.path import Path
from tunflow.protocols.contract import Association, DatagramRoute, Outbound
from tunflow.stack.icmp import Reason
from tunflow.stack.udp import DatagramOwner, UDPMapping, UDPRun

if TYPE_CHECKING:
    from tunflow.dataplane.udp.associated import AssociatedRelay
    from tunflow.dataplane.udp.failover_relay import FailoverRelay
    from tunflow.dataplane.udp.framed import FramedRelay

    Relay: TypeAlias = UDPRelay | AssociatedRelay | FramedRelay | FailoverRelay

WAITING = 32
"""Runs of datagrams kept while a flow waits for its decision; more are dropped, as a full queue would."""


class UDPSocket(Contained):
    """What serves one client socket: its relays, and whoever else must hear that it is gone."""

    __slots__ = ("_context", "_mapping", "_relays", "owner", "owners")

    def __init__(self, context: FlowContext, mapping: UDPMapping) -> None:
        self._context = context
        self._mapping = mapping
        self._relays: dict[Any, Relay] = {}
        self.owners: list[DatagramOwner] = []
        """Owners to close with the socket."""
        self.owner: DatagramOwner | None = None
        """Who has the whole socket, if somebody has."""

    def carried(self, dialer: Outbound, target: Endpoint, seen: Endpoint) -> CarriedFlow:
        """The way through `dialer` to `target`, which the client knows as `seen`. Raises Blocked and OSError.

        Flows to addresses share a relay, so that the client's outer port is the same for all (RFC 4787 REQ-1). One to
        a name has a relay of its own: nobody knows from which address the answers will come.
        """
        named = isinstance(target.host, str)
        key: Any = (dialer, target, seen) if named else dialer
        relay = self._relays.get(key)
        if relay is None:
            self._context.slots.claim()
            relay = self._relays[key] = self._relay(dialer, seen if named else None)
            self._context.slots.associations += 1
            self._context.statistics.udp_flows += 1
        if not named and target != seen:
            relay.translate(seen, target)
        return CarriedFlow(relay, target)

    def _relay(self, dialer: Outbound, seen: Endpoint | None) -> Relay:
        route = dialer.datagrams()
        # Imported by the first that needs them: most servers do without.
        if isinstance(route, DatagramRoute):
            if route.server is None or not route.server.has_choice:
                return UDPRelay(self._context, self._mapping, route, seen)
            from tunflow.dataplane.udp.failover_relay import FailoverRelay  # noqa: PLC0415

            return FailoverRelay(self._context, self._mapping, route, seen)
        if isinstance(route, Association):
            from tunflow.dataplane.udp.associated import AssociatedRelay  # noqa: PLC0415

            return AssociatedRelay(self._context, self._mapping, dialer.datagrams, seen)
        from tunflow.dataplane.udp.framed import FramedRelay  # noqa: PLC0415

        return FramedRelay(self._context, self._mapping, route, seen)

    def paths(self) -> set[Path | None]:
        """The paths of its relays."""
        return {relay.path for relay in self._relays.values()}

    def leave(self, gone: set[Path]) -> None:
        """Close the relays on paths that are gone; their flows are decided anew with the next datagram."""
        lost = [key for key, relay in self._relays.items() if relay.path in gone]
        closed = {self._relays.pop(key) for key in lost}
        self._context.slots.associations -= len(closed)
        for relay in closed:
            relay.close()
        for flow in self._mapping.flows.values():
            if isinstance(flow.owner, CarriedFlow) and flow.owner.relay in closed:
                flow.give_to(None)

    def close(self) -> None:
        """Give everything back."""
        while self._relays:  # one by one, so that a bug in one leaves the others for another call
            _, relay = self._relays.popitem()
            self._context.slots.associations -= 1
            relay.close()
        while self.owners:
            self.owners.pop().close()

    @property
    def about(self) -> str:
        """As `Contained.about`."""
        return f"udp {self._mapping.client}"

    def cut(self) -> None:
        """As `Contained.cut`."""
        self._context.forget_client(self._mapping)


class RefusedFlow:
    """Datagrams go nowhere."""

    __slots__ = ("_context", "_reason")

    def __init__(self, context: FlowContext, reason: Reason | None) -> None:
        self._context = context
        self._reason = reason
        """What the client is told; None for nothing."""

    def send(self, run: UDPRun) -> None:
        """Count and tell."""
        self._context.statistics.udp_dropped += 1
        if self._reason is not None:
            self._context.undelivered(run, self._reason)

    def close(self) -> None:
        """Nothing is held."""


class WaitingFlow:
    """Datagrams wait for a decision."""

    __slots__ = ("runs",)

    def __init__(self) -> None:
        self.runs: list[UDPRun] = []

    def send(self, run: UDPRun) -> None:
        """Keep it, if there is room."""
        if len(self.runs) < WAITING:
            self.runs.append(run)

    def close(self) -> None:
        """The client is gone."""
        self.runs.clear()
