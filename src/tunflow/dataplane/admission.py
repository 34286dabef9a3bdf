"""What becomes of a flow that may begin: one order for TCP and UDP, each step in one place.

1. Names: what goes to port 53 is answered by whoever answers names; resolvers that clients bring along may be blocked.
2. The tunnel's own addresses serve nothing else.
3. A client socket that somebody has as a whole (UDP) is his.
4. The content filter sees every flow, and may refuse it, hold it, or stand before whoever serves it.
5. The policy says who carries it; without one the default dialer does.
6. A name, or the real address behind a fake one, is looked up where the dialer takes none.
7. It is carried; what keeps it from that is told to its client as the network would tell it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from tunflow.dataplane.context import FlowContext
from tunflow.dataplane.decision import Carry, Case, DatagramCase, Decision, Delegate, Policy, Refuse, StreamCase
from tunflow.endpoint import Endpoint
from tunflow.flow import ICMP, FlowInfo, ProcessFinder
from tunflow.loop.trouble import Trouble
from tunflow.names.rules import NameRules, Unresolved
from tunflow.protocols.codec import ProxyRefused
from tunflow.protocols.contract import Blocked, NoDatagrams, Outbound

_NO_DESCRIPTOR = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class FilterStage(Protocol):
    """The content filter, which calls `go_on` for what may: at once, later or never."""

    def open_stream(self, case: StreamCase, go_on: Callable[[], None]) -> None:
        """A new TCP flow."""

    def open_datagrams(self, case: DatagramCase, go_on: Callable[[], None]) -> None:
        """A new UDP flow; whenever nobody serves it any more, it goes on anew."""

    def may_ping(self, ping: FlowInfo) -> bool:
        """Return True if a client may ping an address."""


class NameStage(Protocol):
    """Who answers names."""

    def admit(self, flow: FlowInfo) -> Decision | None:
        """Take a flow that is about names; note what is known of another (`hostname`, `is_fake`) and return None."""

    def outside(self, target: Endpoint, dialer: Outbound) -> Endpoint | Unresolved | None:
        """Return where a flow to `target` really goes, what to look up for that, or None where nobody knows."""

    def resolve(
        self,
        name: str,
        then: Callable[[Sequence[bytes]], None],
        ipv6_first: bool = False,
        flow: FlowInfo | None = None,
    ) -> None:
        """Find the real addresses of a name, packed, for a flow; none if it has none. `then` is called once."""

    def is_fake(self, address: bytes) -> bool:
        """Return True if a packed address only stands for a name, and is nobody's out there."""

    def use_rules(self, rules: NameRules) -> bool:
        """Answer by a content filter's rules from now on. Return False if that cannot be."""

    @property
    def trouble(self) -> Trouble | None:
        """Why names cannot be looked up, if that is so."""

    def reconnect(self) -> None:
        """The network has changed: connections to resolvers are dialled anew."""

    def close(self) -> None:
        """Give everything back."""


class Admittable(Case, Protocol):
    """A flow as admission sees it."""

    @property
    def is_over(self) -> bool:
        """True if its client has given up."""

    def joins(self) -> bool:
        """Give the flow to whoever has all of its client's socket. Return True if somebody has."""

    def pass_filter(self, flow_filter: FilterStage, go_on: Callable[[], None]) -> None:
        """Show it to the content filter."""

    def ask(self, policy: Policy) -> Decision | None:
        """Ask a policy about it."""

    def wait(self) -> object:
        """Have it wait for a decision; return what it waits by."""

    def waits_by(self, token: object) -> bool:
        """Return True if it still waits for that decision."""

    def carry(self, dialer: Outbound, target: Endpoint) -> None:
        """Raises Blocked, ProxyRefused and OSError."""

    def delegate(self, decision: Delegate) -> None:
        """Give it to an owner."""

    def refuse(self, how: Refuse) -> None:
        """Let nothing of it through."""

    def unreachable(self) -> None:
        """Tell its client that there is no such host."""

    def not_carried(self, is_full: bool) -> None:
        """It could not be carried; `is_full`: for lack of room, and may be later."""


class Admission:
    """See the module's rules. What is said here counts for new flows; those under way go on as they began."""

    def __init__(
        self,
        context: FlowContext,
        dialer: Outbound,
        *,
        policy: Policy | None = None,
        names: NameStage | None = None,
        flow_filter: FilterStage | None = None,
        find_process: ProcessFinder | None = None,
    ) -> None:
        self.dialer = dialer
        """For what no policy is asked about: names, and everything where there is no policy."""
        self._find_ping: Callable[[], Outbound] = lambda: self.dialer
        self.policy = policy
        self.names = names
        self.filter = flow_filter
        self.find_process = find_process
        """Tells whose a flow is."""
        self._context = context
        self._own = context.stack.own

    # What a reload changes.

    def use(
        self, dialer: Outbound, policy: Policy | None = None, find_ping: Callable[[], Outbound] | None = None
    ) -> None:
        """Take new flows there, and pings where `find_ping` says."""
        self.dialer, self.policy = dialer, policy
        self._find_ping = find_ping or (lambda: self.dialer)
        self._context.servers.troubles.clear()

    def use_names(self, names: NameStage | None) -> None:
        """Have names answered so, and give back what answered them before."""
        before, self.names = self.names, names
        if before is not None and before is not names:
            before.close()

    def use_filter(self, flow_filter: FilterStage | None) -> None:
        """Show new flows to a content filter, or to none."""
        self.filter = flow_filter

    def use_name_rules(self, rules: NameRules) -> bool:
        """Have names answered by a content filter's rules. Return False if nobody answers them."""
        return self.names is not None and self.names.use_rules(rules)

    def close(self) -> None:
        """Give back what answers names."""
        if self.names is not None:
            self.names.close()

    # A flow.

    def admit(self, case: Admittable) -> None:
        """Say what becomes of a flow that may begin, now or later."""
        flow = case.flow
        decision: Decision | None = None
        if self.names is not None:
            decision = self.names.admit(flow)
        if decision is None and flow.target.host in self._own:
            decision = Refuse.RESET
        if decision is not None:
            self.carry_out(case, decision)
        elif case.joins():
            pass
        elif self.filter is not None:
            case.pass_filter(self.filter, partial(self.route, case))
        else:
            self.route(case)

    def route(self, case: Admittable) -> None:
        """Have the policy, if there is one, say what becomes of a flow that passed the filter."""
        if self.policy is None:
            self._carry(case, self.dialer, case.flow.target)
            return
        decision = case.ask(self.policy)
        if decision is None:
            case.wait()
        else:
            self.carry_out(case, decision)

    def carry_out(self, case: Admittable, decision: Decision) -> None:
        """Do with a flow as decided."""
        if case.is_over:
            return
        if isinstance(decision, Carry):
            self._carry(case, decision.dialer, decision.target)
        elif isinstance(decision, Refuse):
            case.refuse(decision)
        else:
            case.delegate(decision)

    def resolve(self, name: str, then: Callable[[Sequence[bytes]], None]) -> None:
        """Find a name's packed addresses; none where nobody answers names."""
        if self.names is None:
            then(())
        else:
            self.names.resolve(name, then)

    def ping_dialer(self) -> Outbound:
        """Where pings go."""
        return self._find_ping()

    def may_ping(self, client: bytes, address: bytes) -> bool:
        """Return True if a client may ping an address, both packed."""
        if self.filter is None:
            return True
        ping = FlowInfo(ICMP, Endpoint(client, 0), Endpoint(address, 0))
        if self.names is not None:
            self.names.admit(ping)  # which tells the names that the client may mean
        return self.filter.may_ping(ping)

    def is_fake(self, address: bytes) -> bool:
        """Return True if an address only stands for a name."""
        return self.names is not None and self.names.is_fake(address)

    def _carry(self, case: Admittable, dialer: Outbound, target: Endpoint) -> None:
        names = self.names
        if names is None:
            self._dial(case, dialer, target)
            return
        outside = names.outside(target, dialer)
        if isinstance(outside, Endpoint):
            self._dial(case, dialer, outside)
        elif outside is None:
            case.unreachable()
        else:
            token = case.wait()

            def resolved(found: Sequence[bytes]) -> None:
                if not case.waits_by(token):
                    return  # it is over, or somebody decided otherwise meanwhile
                if found:
                    self._dial(case, dialer, Endpoint(found[0], target.port))
                else:
                    case.unreachable()

            names.resolve(outside.name, resolved, outside.is_ipv6, case.flow)

    def _dial(self, case: Admittable, dialer: Outbound, target: Endpoint) -> None:
        try:
            case.carry(dialer, target)
        except NoDatagrams:
            case.refuse(Refuse.RESET)  # so that QUIC falls back to TCP at once
        except Blocked:
            case.refuse(Refuse.PROHIBITED)
        except ProxyRefused as refused:
            log = self._context.log
            log.tell(f"cannot {dialer.label} {refused.refusal}", f"{dialer.label}: some targets: {refused}")
            case.not_carried(is_full=False)
        except OSError as error:
            is_full = error.errno in _NO_DESCRIPTOR
            if is_full:
                self._tell_full(error)
            else:
                self._context.log.tell(f"socket {error.errno}", f"flows fail: no socket for them: {error.strerror}")
            case.not_carried(is_full)

    def _tell_full(self, error: OSError) -> None:
        """There is no descriptor for another flow."""
        self._context.log.tell(
            "full",
            f"no room for more flows ({os.strerror(error.errno or 0)}, {self._context.stack.connections} open): "
            "new ones wait; raise the limit with ulimit -n",
        )
