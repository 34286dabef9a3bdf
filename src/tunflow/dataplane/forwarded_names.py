"""The small forwarder as a step of admission (docs/adr/0044): queries to the tunnel's own addresses go to a resolver.

All other queries are flows like any.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tunflow.dataplane.context import FlowContext
from tunflow.dataplane.decision import Carry, DatagramCase, Decision, Hand
from tunflow.endpoint import Endpoint
from tunflow.flow import TCP, FlowInfo
from tunflow.loop.trouble import Trouble
from tunflow.names.forwarder import QUERY_TIMEOUT, DNSForwarder
from tunflow.names.rules import NameRules
from tunflow.protocols.contract import Outbound
from tunflow.rules.cidr import CIDRSet
from tunflow.stack.udp import UDPRun

DNS_PORT = 53


@dataclass(frozen=True, slots=True)
class NameService:
    """The resolver that the addresses inside the tunnel stand for."""

    resolver: Endpoint
    over_tcp: bool
    """Whether queries go to the resolver by TCP, whatever they came by."""
    neighbours: CIDRSet | None = None
    """Networks whose resolvers it stands for as well: they are on the LAN, and the server does not reach them."""


class ForwardedNames:
    """As `admission.NameStage`; the resolver is reached through `dialer`."""

    def __init__(self, context: FlowContext, dialer: Outbound, service: NameService) -> None:
        self._context = context
        self._dialer = dialer
        self._service = service
        self._forwarder: DNSForwarder | None = None
        if service.over_tcp:
            self._forwarder = DNSForwarder(
                context.reactor, dialer, service.resolver, secrets.randbits, self._failed, context.sockets
            )

    def admit(self, flow: FlowInfo) -> Decision | None:
        """Take queries to the tunnel itself, and to resolvers among the neighbours."""
        host, neighbours = flow.target.host, self._service.neighbours
        assert isinstance(host, bytes)
        if flow.target.port != DNS_PORT:
            return None
        if host not in self._context.stack.own and (neighbours is None or host not in neighbours):
            return None
        if flow.protocol == TCP or self._forwarder is None:
            return Carry(self._dialer, self._service.resolver)
        forwarder = self._forwarder
        return Hand(datagrams=lambda case: ForwardedQueries(forwarder, case))

    def outside(self, target: Endpoint, dialer: Outbound) -> Endpoint:  # noqa: ARG002
        """Return the target: no address is a name's here."""
        return target

    def resolve(self, name: str, then: Callable[[Sequence[bytes]], None], ipv6_first: bool = False) -> None:  # noqa: ARG002
        """Nobody knows names here."""
        then(())

    def is_fake(self, address: bytes) -> bool:  # noqa: ARG002
        """Return False."""
        return False

    def use_rules(self, rules: NameRules) -> bool:  # noqa: ARG002
        """Return False: answers are the resolver's."""
        return False

    @property
    def trouble(self) -> Trouble | None:
        """Why nobody answers, if that is so."""
        return None if self._forwarder is None else self._forwarder.trouble

    def reconnect(self) -> None:
        """The network has changed: the connection to the resolver is dialled anew."""
        if self._forwarder is not None:
            self._forwarder.reconnect()

    def close(self) -> None:
        """Give it back once the queries that it has are over."""
        if self._forwarder is not None:
            self._context.reactor.call_later(QUERY_TIMEOUT, self._forwarder.close)

    def _failed(self, why: str) -> None:
        resolver = self._service.resolver
        self._context.log.tell(f"dns {why}", f"names cannot be looked up: the resolver {resolver}: {why}")


class ForwardedQueries:
    """One client socket's queries to one of the tunnel's addresses."""

    __slots__ = ("_context", "_flow", "_forwarder")

    def __init__(self, forwarder: DNSForwarder, case: DatagramCase) -> None:
        self._forwarder = forwarder
        self._context = case.context
        self._flow = case.udp

    def send(self, run: UDPRun) -> None:
        """Ask each."""
        for query in run.datagrams():
            self._context.statistics.dns_queries += 1
            self._forwarder.query(bytes(query), self._reply)

    def close(self) -> None:
        """Nothing is held."""

    def _reply(self, message: bytes) -> None:
        self._context.deliver(self._flow.mapping, self._flow.target, (message,))
