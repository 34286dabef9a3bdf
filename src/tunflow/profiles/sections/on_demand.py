"""`[on_demand]`: on which networks the tunnel comes and goes by itself."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from tunflow.profiles.field_types import Address, Domain, WebAddress
from tunflow.profiles.section import Many, Section, wrong_at
from tunflow.providers.network_path import InterfaceType
from tunflow.providers.on_demand import (
    EvaluateConnectionAction,
    EvaluateConnectionRule,
    OnDemandAction,
    OnDemandRule,
    OnDemandRuleConnect,
    OnDemandRuleDisconnect,
    OnDemandRuleEvaluateConnection,
    OnDemandRuleIgnore,
    why_never,
)

_SIMPLE = {"connect": OnDemandRuleConnect, "disconnect": OnDemandRuleDisconnect, "ignore": OnDemandRuleIgnore}
_EVALUATE = "evaluate-connection"
_CONNECTION_ACTIONS = {
    "connect-if-needed": EvaluateConnectionAction.CONNECT_IF_NEEDED,
    "never-connect": EvaluateConnectionAction.NEVER_CONNECT,
}


class ConnectionRuleSection(Section):
    """What to do for connections to some domains."""

    domains: Many[Domain] = Field(min_length=1)
    """These and what is below them."""
    action: Literal["connect-if-needed", "never-connect"]
    dns_servers: Many[Address] = ()
    """Connect if these do not resolve the domains."""
    probe_url: WebAddress | None = None
    """Connect if this does not answer with status 200."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.action == "never-connect" and (self.dns_servers or self.probe_url):
            raise ValueError("has dns_servers or probe_url, which go with the action connect-if-needed only")
        return self

    def rule(self) -> EvaluateConnectionRule:
        """The rule that this is."""
        return EvaluateConnectionRule(
            match_domains=self.domains,
            action=_CONNECTION_ACTIONS[self.action],
            use_dns_servers=self.dns_servers,
            probe_url=self.probe_url,
        )

    @classmethod
    def of(cls, rule: EvaluateConnectionRule) -> ConnectionRuleSection:
        """The table of a rule."""
        action = next(name for name, action in _CONNECTION_ACTIONS.items() if action is rule.action)
        return cls.model_validate(
            _given(
                domains=rule.match_domains, action=action, dns_servers=rule.use_dns_servers, probe_url=rule.probe_url
            )
        )


class OnDemandRuleSection(Section):
    """Conditions, all of which must hold, and what to do then."""

    action: Literal["connect", "disconnect", "ignore", "evaluate-connection"]
    interface_type: Literal["any", "ethernet", "wifi", "cellular"] = "any"
    """Of the interface that the default route leaves by."""
    ssid: Many[str] | None = None
    """One of these Wi-Fi networks."""
    dns_servers: Many[Address] | None = None
    """Each of the network's resolvers is one of these."""
    search_domains: Many[Domain] | None = None
    """One of these is the network's search domain."""
    probe_url: WebAddress | None = None
    """Answers with status 200."""
    connections: Many[ConnectionRuleSection] = ()
    """Only and always with `evaluate-connection`."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.action == _EVALUATE) is not bool(self.connections):
            raise ValueError(f"must have connections with the action {_EVALUATE}, and only then")
        return self

    def rule(self) -> OnDemandRule:
        """The rule that this is."""
        interface = None if self.interface_type == "any" else InterfaceType(self.interface_type)
        kind = _SIMPLE.get(self.action)
        if kind is None:
            return OnDemandRuleEvaluateConnection(
                interface_type_match=interface,
                ssid_match=self.ssid,
                dns_server_address_match=self.dns_servers,
                dns_search_domain_match=self.search_domains,
                probe_url=self.probe_url,
                connection_rules=tuple(each.rule() for each in self.connections),
            )
        return kind(
            interface_type_match=interface,
            ssid_match=self.ssid,
            dns_server_address_match=self.dns_servers,
            dns_search_domain_match=self.search_domains,
            probe_url=self.probe_url,
        )

    @classmethod
    def of(cls, rule: OnDemandRule) -> OnDemandRuleSection:
        """The table of a rule."""
        connections = rule.connection_rules if isinstance(rule, OnDemandRuleEvaluateConnection) else ()
        return cls.model_validate(
            _given(
                action=OnDemandAction(rule.action).name.lower().replace("_", "-"),
                interface_type=rule.interface_type_match and str(rule.interface_type_match),
                ssid=rule.ssid_match,
                dns_servers=rule.dns_server_address_match,
                search_domains=rule.dns_search_domain_match,
                probe_url=rule.probe_url,
                connections=tuple(map(ConnectionRuleSection.of, connections)),
            )
        )


class OnDemandSection(Section):
    """Rules in order; the first that matches counts."""

    enabled: bool = False
    rules: Many[OnDemandRuleSection] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        never = why_never(self.made())
        if never is not None:
            number, reason = never
            raise wrong_at(("rules", number), reason)
        return self

    def made(self) -> tuple[OnDemandRule, ...]:
        """The rules, ready to be asked."""
        return tuple(each.rule() for each in self.rules)


def _given(**values: object) -> dict[str, object]:
    """What says something: the rest stays unsaid in the file too."""
    return {name: value for name, value in values.items() if value not in (None, ())}
