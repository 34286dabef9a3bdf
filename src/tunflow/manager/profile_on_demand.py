"""`[on_demand]`: on which networks the tunnel comes and goes by itself."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from tunflow.manager.section import Many, Section
from tunflow.manager.texts import Address, Domain, WebAddress


class ConnectionRuleSection(Section):
    """What to do for connections to some domains."""

    domains: Many[Domain] = Field(min_length=1)
    """These and what is below them."""
    action: Literal["connect-if-needed", "never-connect"]
    dns_servers: Many[Address] = ()
    """Connect if these do not resolve the name."""
    probe_url: WebAddress | None = None
    """Connect if this does not answer with status 200."""


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
        if (self.action == "evaluate-connection") is not bool(self.connections):
            raise ValueError("must have connections with the action evaluate-connection, and only then")
        return self


class OnDemandSection(Section):
    """Rules in order; the first that matches counts."""

    enabled: bool = False
    rules: Many[OnDemandRuleSection] = ()
