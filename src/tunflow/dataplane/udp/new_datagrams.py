"""A UDP flow that may begin: how it is asked about, carried, handed to an owner or refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from tunflow.contained import Contained
from tunflow.dataplane.admission import Admission, FilterStage
from tunflow.dataplane.context import FlowContext
from tunflow.dataplane.decision import Decision, Delegate, Policy, Refuse
from tunflow.dataplane.udp.client_socket import RefusedFlow, UDPSocket, WaitingFlow
from tunflow.endpoint import Endpoint
from tunflow.flow import UDP, FlowInfo
from tunflow.protocols.contract import Outbound
from tunflow.stack.icmp import Reason
from tunflow.stack.udp import DatagramFlow, DatagramOwner, UDPRun

_TOLD = {Refuse.RESET: Reason.PORT, Refuse.PROHIBITED: Reason.ADMIN_PROHIBITED, Refuse.DROP: None}


class NewDatagrams(Contained):
    """As `decision.DatagramCase` and `admission.Admittable`."""

    __slots__ = ("_admission", "context", "flow", "kept", "run", "udp")

    def __init__(self, context: FlowContext, admission: Admission, run: UDPRun) -> None:
        self.context = context
        self._admission = admission
        self.udp: DatagramFlow = run.flow
        self.run = run
        self.kept: list[UDPRun] = []
        self.flow = FlowInfo(UDP, self.udp.mapping.client, self.udp.target, find=admission.find_process)

    @property
    def about(self) -> str:
        """As `Contained.about`."""
        return f"udp {self.udp.mapping.client} -> {self.udp.target}"

    def cut(self) -> None:
        """As `Contained.cut`: with all that its client's socket has, for a relay may be half made."""
        self.context.forget_client(self.udp.mapping)

    # For policies and owners.

    def give(self, decision: Decision) -> None:
        """Say late what becomes of the flow; nothing happens to one that is over."""
        self._admission.carry_out(self, decision)

    def resolve(self, name: str, then: Callable[[Sequence[bytes]], None]) -> None:
        """Find a name's packed addresses; none if it has none."""
        self._admission.resolve(name, then)

    def beside(self, run: UDPRun) -> NewDatagrams:
        """Return the case of another flow of the same client socket."""
        case = NewDatagrams(self.context, self._admission, run)
        case.kept.append(run)
        return case

    # For admission.

    @property
    def is_over(self) -> bool:
        """Return False: what is given to a client that is gone does no harm."""
        return False

    def joins(self) -> bool:
        """Give the flow to whoever has all of its client's socket. Return True if somebody has."""
        owner = self._socket().owner
        if owner is None:
            return False
        self._place(owner)
        return True

    def pass_filter(self, flow_filter: FilterStage, go_on: Callable[[], None]) -> None:
        """Show it to the content filter."""
        flow_filter.open_datagrams(self, go_on)

    def ask(self, policy: Policy) -> Decision | None:
        """Ask a policy about it."""
        return policy.datagrams(self)

    def wait(self) -> object:
        """Keep what the client sends until it is decided."""
        waiting = WaitingFlow()
        self._place(waiting)
        return waiting

    def waits_by(self, token: object) -> bool:
        """Return True if nobody has decided otherwise meanwhile."""
        return self.udp.owner is token

    def carry(self, dialer: Outbound, target: Endpoint) -> None:
        """Send its datagrams through a relay of its client's. Raises Blocked and OSError."""
        carried = self._socket().carried(dialer, target, self.udp.target)
        self._place(carried)
        context = self.context
        book = context.book
        if book is not None:
            from tunflow.dataplane.flow_book import CarriedDatagrams  # noqa: PLC0415 - for who shows flows

            carrier = CarriedDatagrams(self.udp, context.stack.udp, context.forget_client)
            book.carried(self.flow, carrier, dialer.label, target)

    def delegate(self, decision: Delegate) -> None:
        """Give it to an owner, which hears of the end of the client's socket."""
        assert decision.datagrams is not None, "datagrams were handed to an owner of streams"
        owner = decision.datagrams(self)
        socket = self._socket()
        socket.owners.append(owner)
        if decision.whole_socket:
            socket.owner = owner
        self._place(owner)

    def refuse(self, how: Refuse) -> None:
        """Tell the client as its system's firewall would."""
        self._place(RefusedFlow(self.context, _TOLD[how]))

    def unreachable(self) -> None:
        """Tell the client that there is no such host."""
        self._place(RefusedFlow(self.context, Reason.HOST))

    def not_carried(self, is_full: bool) -> None:  # noqa: ARG002
        """Drop what there is; the next datagram is decided anew."""
        self.context.statistics.udp_dropped += 1
        self.udp.give_to(None)

    def _place(self, owner: DatagramOwner) -> None:
        """Have `owner` serve the flow, beginning with what was kept."""
        flow = self.udp
        waiting = flow.owner
        runs, self.kept = self.kept, []
        if isinstance(waiting, WaitingFlow) and waiting is not owner:
            runs = [*waiting.runs, *runs]
        flow.give_to(owner)
        for run in runs:
            owner.send(run)

    def _socket(self) -> UDPSocket:
        mapping = self.udp.mapping
        if mapping.user is None:
            mapping.user = UDPSocket(self.context, mapping)
        return cast(UDPSocket, mapping.user)
