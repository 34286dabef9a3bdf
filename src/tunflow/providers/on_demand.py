"""When a tunnel comes and goes by itself: NEOnDemandRule and NEEvaluateConnectionRule, and what they make of a network.

`evaluate` is a function of the rules, the network and the answers to questions that only the network can answer (does a
URL answer, does a name resolve). What it asks, the caller finds out, and calls it again; so it needs no clock and no
socket. Rules are asked in order, all conditions of a rule must hold, the first that matches counts.

What differs from Apple's: there, `CONNECT` waits until some app opens a connection; here the tunnel comes at once, for
nobody could hold that connection back before there is a tunnel. For the same reason `EVALUATE_CONNECTION` is decided
when the network changes, by its domains themselves, and not by each connection's host.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, NamedTuple

from tunflow.errors import LocalError
from tunflow.providers import check
from tunflow.providers.network_path import InterfaceType, NetworkPath


class OnDemandAction(IntEnum):
    """NEOnDemandRuleAction."""

    CONNECT = 1
    """The tunnel shall be up."""
    DISCONNECT = 2
    """It shall be down, and is taken down."""
    EVALUATE_CONNECTION = 3
    IGNORE = 4
    """It stays as it is."""


class EvaluateConnectionAction(IntEnum):
    """NEEvaluateConnectionRuleAction."""

    CONNECT_IF_NEEDED = 1
    NEVER_CONNECT = 2


class Probe(NamedTuple):
    """The question whether a URL answers with status 200, around the tunnel."""

    url: str


class Lookup(NamedTuple):
    """The question whether a name resolves, around the tunnel; at these resolvers, or (none) at the network's own."""

    name: str
    servers: tuple[str, ...]


Question = Probe | Lookup


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateConnectionRule:
    """NEEvaluateConnectionRule: `match_domains` and what is below them."""

    match_domains: tuple[str, ...]
    action: EvaluateConnectionAction
    use_dns_servers: tuple[str, ...] = ()
    """With CONNECT_IF_NEEDED: connect when these do not resolve the domain."""
    probe_url: str | None = None
    """With CONNECT_IF_NEEDED: connect when this does not answer with status 200."""

    def __post_init__(self) -> None:
        kind = type(self).__name__
        names = check.texts(f"{kind}.match_domains", self.match_domains)
        domains = tuple(check.domain(f"{kind}.match_domains", name) for name in names)
        if not domains:
            raise LocalError(f"{kind}.match_domains: expected at least one domain")
        object.__setattr__(self, "match_domains", domains)
        if self.action is EvaluateConnectionAction.NEVER_CONNECT and (self.use_dns_servers or self.probe_url):
            raise LocalError(f"{kind}: use_dns_servers and probe_url go with CONNECT_IF_NEEDED only")

    def questions(self) -> tuple[Question, ...]:
        """All must be answered with yes, or the tunnel is needed."""
        if self.action is EvaluateConnectionAction.NEVER_CONNECT:
            return ()
        probe = () if self.probe_url is None else (Probe(self.probe_url),)
        if probe and not self.use_dns_servers:
            return probe
        return (*(Lookup(domain, self.use_dns_servers) for domain in self.match_domains), *probe)


@dataclass(frozen=True, kw_only=True, slots=True)
class OnDemandRule:
    """NEOnDemandRule: conditions; one that is None is not considered. Use the classes below, which have an action."""

    action: ClassVar[OnDemandAction]

    interface_type_match: InterfaceType | None = None
    ssid_match: tuple[str, ...] | None = None
    """One of these Wi-Fi networks."""
    dns_server_address_match: tuple[str, ...] | None = None
    """Each of the network's resolvers is one of these."""
    dns_search_domain_match: tuple[str, ...] | None = None
    """One of these is a search domain of the network."""
    probe_url: str | None = None
    """An HTTP or HTTPS URL that answers with status 200."""

    def __post_init__(self) -> None:
        kind = type(self).__name__
        if self.dns_server_address_match is not None:
            for server in self.dns_server_address_match:
                check.address(f"{kind}.dns_server_address_match", server)

    def matches(self, path: NetworkPath) -> bool:
        """Return True if every condition but the probe holds."""
        if self.interface_type_match is not None and path.interface_type is not self.interface_type_match:
            return False
        if self.ssid_match is not None and path.ssid not in self.ssid_match:
            return False
        if self.dns_server_address_match is not None:
            wanted = {check.address("", server) for server in self.dns_server_address_match}
            if not path.dns_servers or not set(path.dns_servers) <= wanted:
                return False
        if self.dns_search_domain_match is not None:
            domains = {domain.lower().strip(".") for domain in self.dns_search_domain_match}
            return any(domain.lower().strip(".") in domains for domain in path.search_domains)
        return True

    def never_matches(self) -> str | None:
        """Why no network can meet the conditions; None when one can."""
        for name in ("ssid_match", "dns_server_address_match", "dns_search_domain_match"):
            if getattr(self, name) == ():
                return f"its {name} is empty, so it can never match"
        if self.ssid_match is not None and self.interface_type_match not in {None, InterfaceType.WIFI}:
            return "only Wi-Fi has an SSID, so it can never match"
        return None

    def covers(self, other: OnDemandRule) -> bool:
        """Return True if this matches wherever `other` does."""
        mine, others = self.interface_type_match, other.interface_type_match
        if mine is not None and mine is not others and not (mine is InterfaceType.WIFI and other.ssid_match):
            return False
        if self.probe_url is not None and self.probe_url != other.probe_url:
            return False
        return all(
            mine is None or (others is not None and set(others) <= set(mine))
            for mine, others in (
                (self.ssid_match, other.ssid_match),
                (self.dns_server_address_match, other.dns_server_address_match),
                (self.dns_search_domain_match, other.dns_search_domain_match),
            )
        )


class OnDemandRuleConnect(OnDemandRule):
    """NEOnDemandRuleConnect."""

    action = OnDemandAction.CONNECT


class OnDemandRuleDisconnect(OnDemandRule):
    """NEOnDemandRuleDisconnect."""

    action = OnDemandAction.DISCONNECT


class OnDemandRuleIgnore(OnDemandRule):
    """NEOnDemandRuleIgnore."""

    action = OnDemandAction.IGNORE


@dataclass(frozen=True, kw_only=True, slots=True)
class OnDemandRuleEvaluateConnection(OnDemandRule):
    """NEOnDemandRuleEvaluateConnection."""

    action: ClassVar[OnDemandAction] = OnDemandAction.EVALUATE_CONNECTION
    connection_rules: tuple[EvaluateConnectionRule, ...] = ()

    def __post_init__(self) -> None:
        super(OnDemandRuleEvaluateConnection, self).__post_init__()
        if not self.connection_rules:
            raise LocalError("OnDemandRuleEvaluateConnection.connection_rules: expected at least one rule")


class Outcome(NamedTuple):
    """What shall be: CONNECT, DISCONNECT or IGNORE, and the number of the rule that says so (None: no rule matches)."""

    action: OnDemandAction
    rule: int | None


def evaluate(rules: Sequence[OnDemandRule], path: NetworkPath, answers: Mapping[Question, bool]) -> Outcome | Question:
    """What the rules say of a network; or the question whose answer it takes. Without a network all stays as it is."""
    if not path.is_satisfied:
        return Outcome(OnDemandAction.IGNORE, None)
    for number, rule in enumerate(rules):
        if not rule.matches(path):
            continue
        if rule.probe_url is not None:
            probe = Probe(rule.probe_url)
            if probe not in answers:
                return probe
            if not answers[probe]:
                continue
        if not isinstance(rule, OnDemandRuleEvaluateConnection):
            return Outcome(rule.action, number)
        needed = _is_needed(rule, answers)
        if isinstance(needed, bool):
            return Outcome(OnDemandAction.CONNECT if needed else OnDemandAction.IGNORE, number)
        return needed
    return Outcome(OnDemandAction.IGNORE, None)


def _is_needed(rule: OnDemandRuleEvaluateConnection, answers: Mapping[Question, bool]) -> bool | Question:
    """Return True if one of the rule's domains needs the tunnel; the first connection rule about a domain decides."""
    decided: list[str] = []
    for connection in rule.connection_rules:
        for question in connection.questions():
            if isinstance(question, Lookup) and _is_below(question.name, decided):
                continue
            if question not in answers:
                return question
            if not answers[question]:
                return True
        decided += connection.match_domains
    return False


def _is_below(name: str, domains: Sequence[str]) -> bool:
    return any(not domain or name == domain or name.endswith("." + domain) for domain in domains)


def why_never(rules: Sequence[OnDemandRule]) -> tuple[int, str] | None:
    """The number of the first rule that can never match, and why; None when each of them can."""
    for number, rule in enumerate(rules):
        if reason := rule.never_matches():
            return number, reason
        for earlier in range(number):
            if rules[earlier].covers(rule):
                return number, f"can never match: rule {earlier + 1} comes first and matches wherever this does"
    return None
