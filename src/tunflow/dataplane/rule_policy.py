"""The policy that rules make: each flow goes where the first rule that holds sends it.

The path of a flow: what is known of it (name by its address, else none) -> the rule table -> perhaps first a look at
its first bytes, or its name's address -> a verdict -> groups -> a server's dialer, or a refusal. `routing` may be
replaced at any time: that is what a reload does, flows already decided keep their way.

Which target a proxy is asked for: the name, where one is known, because the address may be a poisoned one; but never
for an address that is not on the Internet, which a client does not get by mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tunflow.dataplane.context import FlowContext
from tunflow.dataplane.decision import Carry, DatagramCase, Decision, Delegate, Refuse, StreamCase
from tunflow.dataplane.sniffing import SERVER_SPEAKS_FIRST, DatagramSniffer, StreamSniffer, may_be_quic
from tunflow.endpoint import Endpoint
from tunflow.errors import LocalError
from tunflow.flow import FlowInfo
from tunflow.outbound.chain import goes_direct
from tunflow.outbound.delay_round import DelayListener, DelayRound
from tunflow.outbound.health import HealthChecks
from tunflow.protocols.contract import Outbound
from tunflow.rules.conditions import Facts, Need
from tunflow.rules.groups import Groups
from tunflow.rules.syntax import PRIVATE
from tunflow.rules.table import RuleTable, Verdict


@dataclass(frozen=True, slots=True)
class Routing:
    """Everything that a reload replaces."""

    table: RuleTable
    groups: Groups
    ways: Mapping[str, Outbound | Refuse]
    """Servers and built-in targets by name."""
    default: Verdict
    """For a flow that no rule is about."""

    def dialer(self, name: str) -> Outbound | None:
        """What the server or group of that name dials through now; None where there is none, or it refuses."""
        if name not in self.ways and name not in self.groups.all:
            return None
        way = self.ways[self.groups.way(name, "")[-1]]
        return None if isinstance(way, Refuse) else way


class RulePolicy:
    """Decides by `routing`, for the flows of one device."""

    def __init__(self, routing: Routing, context: FlowContext) -> None:
        self.routing = routing
        self._context = context
        self._checks: HealthChecks | None = None
        self._round: DelayRound | None = None
        context.servers.on_trouble(self._suspect)
        self._watch()

    def reload(self, routing: Routing) -> None:
        """Decide new flows by another routing; what users chose in groups stays chosen."""
        routing.groups.keep(self.routing.groups)
        self.routing = routing
        self._watch()

    def measure(self, target: str | None, told: DelayListener) -> list[str]:
        """Ask the servers of a group, or all, how they do now: which they are; `told` hears of each. Raises LocalError.

        What is heard is known to the groups, too.
        """
        context, groups = self._context, self.routing.groups
        if self._round is not None and self._round.left:
            raise LocalError("the servers are being asked already")
        servers = groups.servers_of(target) if target is not None else list(groups.servers)

        def heard(server: str, delay: float | None) -> None:
            groups.health.recall(server, delay)
            told(server, delay)

        self._round = DelayRound(context.reactor, servers, self.dialer, groups.question, context.sockets, heard)
        return servers

    def avoids(self, label: str) -> bool:
        """Return True if no flow goes to the server of that label as things stand: groups have turned to others."""
        routing = self.routing
        named = {name for name, way in routing.ways.items() if not isinstance(way, Refuse) and way.label == label}
        targets = {*routing.table.targets, routing.default.target}
        used = {server for target in targets for server in routing.groups.servers_now(target)}
        return bool(named) and not named & used

    def close(self) -> None:
        """Ask no server any more."""
        if self._round is not None:
            self._round.close()
        self._context.servers.on_trouble(None)
        if self._checks is not None:
            self._checks.close()

    def _watch(self) -> None:
        """Have servers asked how they do."""
        if self._checks is not None:
            self._checks.close()
        context, groups = self._context, self.routing.groups
        self._checks = HealthChecks(context.reactor, groups.health, self.dialer, groups.question, context.sockets)
        groups.wake(context.reactor.now)
        self._checks.arm()

    def _suspect(self, label: str) -> None:
        """A flow failed at a server."""
        for name, way in self.routing.ways.items():
            if not isinstance(way, Refuse) and way.label == label:
                self.routing.groups.health.suspect(name, self._context.reactor.now)
        if self._checks is not None:
            self._checks.arm()

    def stream(self, case: StreamCase) -> Decision | None:
        """For a new TCP connection."""
        return self._advance(_facts(case.flow), _Stream(case))

    def datagrams(self, case: DatagramCase) -> Decision | None:
        """For the first datagrams of a UDP flow."""
        return self._advance(_facts(case.flow), _Datagrams(case))

    def dialer(self, name: str) -> Outbound | None:
        """As `Routing.dialer`, of the routing of the moment."""
        return self.routing.dialer(name)

    def _advance(self, facts: Facts, sniffed: _Sniffed) -> Decision | None:
        """The decision; None when it is given later."""
        if facts.address is None and facts.name is None:
            return Refuse.RESET  # an address of a name that was forgotten: the client asks again
        flow = sniffed.case.flow
        decision = self._judge(flow, facts)
        if decision is Need.NAME:
            if sniffed.can_sniff:
                return sniffed.sniff(lambda name: self._named(facts, sniffed, name))
            facts.name_sought = True
            decision = self._judge(flow, facts)
        if isinstance(decision, Need):
            self._resolve(facts, sniffed)
            return None
        return decision

    def _named(self, facts: Facts, sniffed: _Sniffed, name: str | None) -> None:
        """A flow's first bytes were seen."""
        facts.name, facts.name_sought = name, True
        sniffed.case.flow.hostname = name
        decision = self._advance(facts, sniffed)
        if decision is not None:
            sniffed.case.give(decision)

    def _resolve(self, facts: Facts, sniffed: _Sniffed) -> None:
        case = sniffed.case

        def resolved(addresses: Sequence[bytes]) -> None:
            facts.address_sought = True
            width = len(case.flow.target.host)
            facts.address = next((found for found in addresses if len(found) == width), next(iter(addresses), None))
            decision = self._advance(facts, sniffed)
            if decision is not None:
                case.give(decision)

        assert facts.name is not None
        # Never from within the call that asks: whoever asked says "later" first.
        case.resolve(facts.name, lambda found: self._context.reactor.call_soon(lambda: resolved(found)))

    def _judge(self, flow: FlowInfo, facts: Facts) -> Decision | Need:
        routing = self.routing
        found = routing.table.match(facts)
        if isinstance(found, Need):
            return found
        verdict = found or routing.default
        path = routing.groups.way(verdict.target, facts.name or str(facts.address))
        if verdict.target in routing.groups:
            routing.groups.used(verdict.target, self._context.reactor.now)
            if self._checks is not None:
                self._checks.arm()
        way = routing.ways[path[-1]]
        decision: Decision
        if isinstance(way, Refuse):
            decision = way
        elif (target := _target(facts, not goes_direct(way))) is not None:
            decision = Carry(way, target)
        elif facts.address_sought:
            decision = Refuse.RESET  # a name without an address
        else:
            return Need.ADDRESS
        self._tell(flow, facts, verdict, path)
        return decision

    def _tell(self, flow: FlowInfo, facts: Facts, verdict: Verdict, path: list[str]) -> None:
        if self._context.book is not None:
            self._context.book.decided(flow, verdict, path)
        trace = self._context.trace
        if trace is not None:
            name = f" ({facts.name})" if facts.name else ""
            trace(
                f"{flow.protocol} {flow.client} -> {flow.target}{name}: {' -> '.join(path)}, by {verdict.file}"
                f"{f':{verdict.line}' if verdict.line else ''} {verdict.text}"
            )


def _target(facts: Facts, by_proxy: bool) -> Endpoint | None:
    """What is dialled; None when it takes an address that is not known."""
    address = facts.address
    if by_proxy and facts.name is not None and (address is None or address not in PRIVATE):
        return Endpoint(facts.name, facts.port)
    return None if address is None else Endpoint(address, facts.port)


def _facts(flow: FlowInfo) -> Facts:
    address = flow.target.host
    assert isinstance(address, bytes)
    assert isinstance(flow.client.host, bytes)
    return Facts(
        flow.protocol,
        flow.client.host,
        flow.client.port,
        flow.target.port,
        None if flow.is_fake else address,
        flow.hostname,
        find_process=lambda: flow.process,
    )


class _Stream:
    """A TCP connection whose first bytes may tell a name."""

    def __init__(self, case: StreamCase) -> None:
        self.case = case

    @property
    def can_sniff(self) -> bool:
        return self.case.flow.target.port not in SERVER_SPEAKS_FIRST

    def sniff(self, found: Callable[[str | None], None]) -> Delegate:
        return Delegate(stream=lambda case: StreamSniffer(case, found))


class _Datagrams:
    """A UDP flow whose first datagrams may tell a name."""

    def __init__(self, case: DatagramCase) -> None:
        self.case = case

    @property
    def can_sniff(self) -> bool:
        return may_be_quic(self.case.run)

    def sniff(self, found: Callable[[str | None], None]) -> Delegate:
        return Delegate(datagrams=lambda case: DatagramSniffer(case, found))


_Sniffed = _Stream | _Datagrams
