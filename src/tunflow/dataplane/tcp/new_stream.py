"""A TCP connection that may begin: how it is asked about, carried, handed to an owner or refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tunflow.conduit import ClientConduit
from tunflow.contained import Contained
from tunflow.dataplane.admission import Admission, FilterStage
from tunflow.dataplane.context import FlowContext
from tunflow.dataplane.decision import Decision, Delegate, Policy, Refuse
from tunflow.dataplane.tcp.relay import TCPRelay
from tunflow.endpoint import Endpoint
from tunflow.flow import TCP, FlowInfo
from tunflow.protocols.contract import CodecRoute, Outbound
from tunflow.stack.icmp import Reason


class NewStream(Contained):
    """As `decision.StreamCase` and `admission.Admittable`."""

    __slots__ = ("_admission", "connection", "context", "flow")

    def __init__(self, context: FlowContext, admission: Admission, connection: ClientConduit) -> None:
        self.context = context
        self._admission = admission
        self.connection = connection
        self.flow = FlowInfo(TCP, connection.client, connection.target, find=admission.find_process)

    @property
    def about(self) -> str:
        """As `Contained.about`."""
        return f"tcp {self.connection.client} -> {self.connection.target}"

    def cut(self) -> None:
        """As `Contained.cut`."""
        self.connection.cut()

    # For policies and owners.

    def give(self, decision: Decision) -> None:
        """Say late what becomes of the flow; nothing happens to one that is over."""
        self._admission.carry_out(self, decision)

    def resolve(self, name: str, then: Callable[[Sequence[bytes]], None]) -> None:
        """Find a name's packed addresses; none if it has none."""
        self._admission.resolve(name, then)

    # For admission.

    @property
    def is_over(self) -> bool:
        """True if the client has given up."""
        return self.connection.closed

    def joins(self) -> bool:
        """Return False: nobody has all connections of a client."""
        return False

    def pass_filter(self, flow_filter: FilterStage, go_on: Callable[[], None]) -> None:
        """Show it to the content filter."""
        flow_filter.open_stream(self, go_on)

    def ask(self, policy: Policy) -> Decision | None:
        """Ask a policy about it."""
        return policy.stream(self)

    def wait(self) -> object:
        """Its SYN is held already, or its bytes wait."""
        return None

    def waits_by(self, _: object) -> bool:
        """Return True if it still waits."""
        return not self.connection.closed

    def carry(self, dialer: Outbound, target: Endpoint) -> None:
        """Join it with a socket. Raises Blocked, ProxyRefused and OSError."""
        context, connection = self.context, self.connection
        connection.user = None
        context.slots.claim()
        route = dialer.stream(target, self.flow)
        relay: TCPRelay | ConduitRelay
        if isinstance(route, CodecRoute):
            name = target.host if dialer.server is not None and isinstance(target.host, str) else None
            relay = connection.user = TCPRelay(context, connection, route, name)
            if dialer.server is not None:
                context.servers.asked(dialer.label, name)
        else:
            from tunflow.dataplane.tcp.conduits import ConduitRelay  # noqa: PLC0415 (which few need)

            relay = connection.user = ConduitRelay(context, connection, route)
        if context.book is not None:
            context.book.carried(self.flow, relay, dialer.label, target)

    def delegate(self, decision: Delegate) -> None:
        """Give it to an owner."""
        assert decision.stream is not None, "a stream was handed to an owner of datagrams"
        self.connection.user = None
        self.connection.user = decision.stream(self)

    def refuse(self, how: Refuse) -> None:
        """Tell the client as its system's firewall would."""
        connection = self.connection
        connection.user = None
        if not connection.held:
            connection.abort()  # it was let in already, so all that is left is a reset
            return
        if how is Refuse.PROHIBITED:
            self.context.stack.unreachable(connection.syn, Reason.ADMIN_PROHIBITED, self.context.reactor.now)
        connection.reject(reset=how is Refuse.RESET)

    def unreachable(self) -> None:
        """Tell the client that there is no such host."""
        if self.connection.held:
            self.context.stack.unreachable(self.connection.syn, Reason.HOST, self.context.reactor.now)
        self.refuse(Refuse.DROP)

    def not_carried(self, is_full: bool) -> None:
        """For lack of room: like a full backlog, the client sends its SYN again, and by then a flow may have ended."""
        self.context.statistics.tcp_failed += 1
        self.refuse(Refuse.DROP if is_full else Refuse.RESET)
