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
from typing import TYPE_CHECKING, Protocol

from tunflow.conduit import ClientStream
from tunflow.dataplane.decision import Carry, Decision, Hand, Refuse
from tunflow.dataplane.sniffing import SERVER_SPEAKS_FIRST, DatagramSniffer, StreamSniffer, may_be_quic
from tunflow.endpoint import Endpoint
from tunflow.flow import FlowInfo
from tunflow.outbound.chain import goes_direct
from tunflow.outbound.health import HealthChecks
from tunflow.protocols.contract import Outbound
from tunflow.rules.conditions import Facts, Need
from tunflow.rules.groups import Groups
from tunflow.rules.syntax import PRIVATE
from tunflow.rules.table import RuleTable, Verdict
from tunflow.stack.udp import UDPRun

if TYPE_CHECKING:
    from tunflow.dataplane.driver import Driver


class KnownNames(Protocol):
    """What the names' side knows: which name a client means by an address, and a name's address."""

    def name_of(self, client: bytes, address: bytes) -> str | None:
        """The name behind a packed address, in lower case; None when nobody was told it."""

    def is_fake(self, address: bytes) -> bool:
        """Whether the address only stands for a name, and is not to be dialled."""

    def resolve(self, name: str, reply: Callable[[Sequence[bytes]], None]) -> None:
        """Find a name's packed addresses; none if it has none. `reply` is called once."""


@dataclass(frozen=True, slots=True)
class Routing:
    """Everything that a reload replaces."""

    table: RuleTable
    groups: Groups
    ways: Mapping[str, Outbound | Refuse]
    """Servers and built-in targets by name."""
    default: Verdict
    """For a flow that no rule is about."""


class RulePolicy:
    """Decides by `routing`; `serve` a driver before its first flow."""

    def __init__(self, routing: Routing, names: KnownNames | None = None) -> None:
        self.routing = routing
        self.driver: Driver | None = None
        self.names = names
        self._checks: HealthChecks | None = None

    def serve(self, driver: Driver) -> None:
        """Decide this driver's flows."""
        self.driver, self.names = driver, driver.name_server
        driver.context.servers.troubled = self._suspect
        self._watch(driver)

    def reload(self, routing: Routing) -> None:
        """Decide new flows by another routing; what users chose in groups stays chosen."""
        routing.groups.keep(self.routing.groups)
        self.routing = routing
        if self.driver is not None:
            self._watch(self.driver)

    def close(self) -> None:
        """Ask no server any more."""
        if self._checks is not None:
            self._checks.close()

    def _watch(self, driver: Driver) -> None:
        """Have servers asked how they do."""
        self.close()
        groups = self.routing.groups
        self._checks = HealthChecks(driver.reactor, groups.health, self.dialer, groups.url, driver.sockets)

    def _suspect(self, label: str) -> None:
        """A flow failed at a server."""
        for name, way in self.routing.ways.items():
            if not isinstance(way, Refuse) and way.label == label:
                self.routing.groups.health.suspect(name, self._running.reactor.now)
        if self._checks is not None:
            self._checks.arm()

    def stream(self, flow: FlowInfo, connection: ClientStream) -> Decision | None:
        """For a new TCP connection."""
        return self._advance(flow, self._facts(flow), _Stream(self._running, connection))

    def datagrams(self, flow: FlowInfo, run: UDPRun) -> Decision | None:
        """For the first datagrams of a UDP flow."""
        return self._advance(flow, self._facts(flow), _Datagrams(self._running, run))

    def dialer(self, name: str) -> Outbound | None:
        """What the server or group of that name dials through now; None where there is none, or it refuses."""
        routing = self.routing
        if name not in routing.ways and name not in routing.groups.all:
            return None
        way = routing.ways[routing.groups.way(name, "")[-1]]
        return None if isinstance(way, Refuse) else way

    @property
    def _running(self) -> Driver:
        assert self.driver is not None, "a policy without its driver"
        return self.driver

    def _facts(self, flow: FlowInfo) -> Facts:
        address, name = flow.target.host, flow.hostname
        assert isinstance(address, bytes)
        assert isinstance(flow.client.host, bytes)
        is_fake = False
        if self.names is not None:
            is_fake = self.names.is_fake(address)
            name = name or self.names.name_of(flow.client.host, address)
        return Facts(
            flow.protocol,
            flow.client.host,
            flow.client.port,
            flow.target.port,
            None if is_fake else address,
            name,
            find_process=lambda: flow.process,
        )

    def _advance(self, flow: FlowInfo, facts: Facts, case: _Case) -> Decision | None:
        """The decision; None when it is given to `case` later."""
        if facts.address is None and facts.name is None:
            return Refuse.RESET  # an address of a name that was forgotten: the client asks again
        decision = self._judge(flow, facts)
        if decision is Need.NAME:
            if case.can_sniff:
                return case.sniff(lambda name: self._named(flow, facts, case, name))
            facts.name_sought = True
            decision = self._judge(flow, facts)
        if isinstance(decision, Need):
            self._resolve(flow, facts, case)
            return None
        return decision

    def _named(self, flow: FlowInfo, facts: Facts, case: _Case, name: str | None) -> None:
        """A flow's first bytes were seen."""
        facts.name, facts.name_sought = name, True
        flow.hostname = name
        decision = self._advance(flow, facts, case)
        if decision is not None:
            case.give(decision)

    def _resolve(self, flow: FlowInfo, facts: Facts, case: _Case) -> None:
        driver = self._running

        def resolved(addresses: Sequence[bytes]) -> None:
            facts.address_sought = True
            width = len(flow.target.host)
            facts.address = next((found for found in addresses if len(found) == width), next(iter(addresses), None))
            decision = self._advance(flow, facts, case)
            if decision is not None:
                case.give(decision)

        assert self.names is not None, "only a fake address is no address"
        assert facts.name is not None
        # Never from within the call that asks: whoever asked says "later" first.
        self.names.resolve(facts.name, lambda found: driver.reactor.call_soon(lambda: resolved(found)))

    def _judge(self, flow: FlowInfo, facts: Facts) -> Decision | Need:
        routing = self.routing
        found = routing.table.match(facts)
        if isinstance(found, Need):
            return found
        verdict = found or routing.default
        path = routing.groups.way(verdict.target, facts.name or str(facts.address))
        if verdict.target in routing.groups:
            routing.groups.used(verdict.target, self._running.reactor.now)
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
        trace = self._running.context.trace
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


class _Case(Protocol):
    """A flow that waits to be decided."""

    @property
    def can_sniff(self) -> bool:
        """Whether its first bytes may tell a name."""

    def sniff(self, found: Callable[[str | None], None]) -> Hand:
        """Have its first bytes looked at."""

    def give(self, decision: Decision) -> None:
        """The late decision."""


class _Stream:
    """A TCP connection."""

    def __init__(self, driver: Driver, connection: ClientStream) -> None:
        self._driver = driver
        self._connection = connection

    @property
    def can_sniff(self) -> bool:
        return self._connection.target.port not in SERVER_SPEAKS_FIRST

    def sniff(self, found: Callable[[str | None], None]) -> Hand:
        return Hand(stream=lambda driver, connection: StreamSniffer(driver, connection, found))

    def give(self, decision: Decision) -> None:
        self._driver.decide_stream(self._connection, decision)


class _Datagrams:
    """A UDP flow, with what it has sent so far."""

    def __init__(self, driver: Driver, run: UDPRun) -> None:
        self._driver = driver
        self._run = run
        self._runs: list[UDPRun] = []

    @property
    def can_sniff(self) -> bool:
        return may_be_quic(self._run)

    def sniff(self, found: Callable[[str | None], None]) -> Hand:
        def keep(name: str | None, runs: list[UDPRun]) -> None:
            self._runs = runs
            found(name)

        return Hand(datagrams=lambda driver, flow: DatagramSniffer(driver, flow, keep))

    def give(self, decision: Decision) -> None:
        self._driver.datagrams.decide(self._run.flow, decision, self._runs)
