"""`[tunnel]`: the device of a system-wide tunnel, and what goes into it."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from tunflow.addresses import ip_network
from tunflow.profiles.field_types import Interface
from tunflow.profiles.section import Many, Section
from tunflow.urls import parse_web_address


def _route(text: str) -> str:
    if len(text) == 2 and text.isalpha() and text.isascii():
        return text.upper()
    try:
        return str(ip_network(text))
    except ValueError:
        raise ValueError("must be a network like 10.0.0.0/8 or a country like CN") from None


def _probe(text: str) -> str:
    try:
        if parse_web_address(text).scheme == "http":
            return text
    except ValueError:
        pass
    raise ValueError("must be a page's http:// address: a login page stands in the way of no other")


Probe = Annotated[str, AfterValidator(_probe)]
"""A page that says nothing (204) or "success" where no login page is in the way."""

Route = Annotated[str, AfterValidator(_route)]
"""A network in CIDR notation, or a country's two letters for all its networks."""


class TunnelSection(Section):
    """What the host is given while the tunnel is up."""

    addresses: Many[Interface] = ()
    """The device's own; empty for the usual private ones."""
    mtu: int | None = Field(default=None, ge=1280, le=65535)
    """In bytes; None for what is fastest."""
    included_routes: Many[Route] = ()
    """What goes into the tunnel; empty for everything."""
    excluded_routes: Many[Route] = ()
    """What does not, although it is included."""
    exclude_lan: bool = False
    """True if the networks that this host is in are left alone."""
    kill_switch: bool = False
    """True if nothing may leave around the tunnel, also when tunflow is gone."""
    per_app: bool = False
    """True if only programs that `tunflow exec` starts use the tunnel."""
    bypass_groups: Many[str] = ()
    """Control groups whose programs go around the tunnel, such as a proxy's on this machine."""
    portal_probes: Many[Probe] = (
        "http://connectivitycheck.gstatic.com/generate_204",
        "http://detectportal.firefox.com/success.txt",
    )
    """Pages that are asked for past the tunnel while its server cannot be reached, to find a network's login page;
    empty for none."""
    gateway: Many[str] = ()
    """Interfaces whose hosts' traffic is carried too."""
