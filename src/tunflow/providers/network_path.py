"""How the machine reaches the network now: Apple's NWPath, with what on-demand rules need to know besides.

A value: whoever watches the network makes a new one when something changed, and compares it with the last.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from ipaddress import IPv4Address, IPv6Address


class PathStatus(IntEnum):
    """NWPathStatus, by its numbers."""

    INVALID = 0
    SATISFIED = 1
    UNSATISFIED = 2
    SATISFIABLE = 3
    """Not up now; an attempt to connect may bring it up."""


class InterfaceType(StrEnum):
    """What carries the default route."""

    ETHERNET = "ethernet"
    WIFI = "wifi"
    CELLULAR = "cellular"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class NetworkPath:
    """The default path. `gateways` and what follows describe the interface that the path leaves by."""

    status: PathStatus = PathStatus.INVALID
    interface: str | None = None
    interface_type: InterfaceType = InterfaceType.OTHER
    gateways: tuple[IPv4Address | IPv6Address, ...] = ()
    ssid: str | None = None
    dns_servers: tuple[IPv4Address | IPv6Address, ...] = ()
    search_domains: tuple[str, ...] = ()
    is_expensive: bool = False
    """Metered, by what the system says."""
    is_constrained: bool = False
    """The user asked for little traffic."""

    @property
    def is_satisfied(self) -> bool:
        """True if there is a way to the network."""
        return self.status is PathStatus.SATISFIED
