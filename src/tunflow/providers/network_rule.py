"""Which flows a transparent proxy is asked about: NENetworkRule."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from tunflow.addresses import ip_address
from tunflow.endpoint import Endpoint
from tunflow.errors import LocalError
from tunflow.providers import check

DNS_PORT = 53


class NetworkRuleProtocol(IntEnum):
    """NENetworkRuleProtocol."""

    ANY = 0
    TCP = 1
    UDP = 2


class TrafficDirection(IntEnum):
    """NETrafficDirection."""

    ANY = 0
    INBOUND = 1
    OUTBOUND = 2


_PROTOCOLS = {"tcp": NetworkRuleProtocol.TCP, "udp": NetworkRuleProtocol.UDP}


@dataclass(frozen=True, slots=True)
class NetworkRule:
    """NENetworkRule, about where a flow goes.

    `destination` is a network in CIDR notation, a host name, or None for everything but loopback. A name of one label
    matches exactly; one of more labels matches the domain and all below it, of flows whose name is known. `port` 0 is
    any port.
    """

    destination: str | None = None
    port: int = 0
    protocol: NetworkRuleProtocol = NetworkRuleProtocol.ANY
    direction: TrafficDirection = TrafficDirection.OUTBOUND
    match_network: check.Network | None = None
    """`destination`, when it is a network."""

    def __post_init__(self) -> None:
        check.within("NetworkRule.port", self.port, 0, 65535)
        if self.direction is not TrafficDirection.OUTBOUND:
            raise LocalError("NetworkRule.direction: only OUTBOUND flows pass through a tunnel")
        if self.destination is None:
            return
        try:
            found: check.Network | None = check.network("NetworkRule.destination", self.destination)
        except LocalError:
            if "/" in self.destination:
                raise
            found = None
            object.__setattr__(self, "destination", check.domain("NetworkRule.destination", self.destination))
        object.__setattr__(self, "match_network", found)
        if found is not None and found.prefixlen == 0 and not self.port:
            raise LocalError("NetworkRule.destination: every address on every port: leave destination out instead")
        if found is not None and self.port == DNS_PORT:
            raise LocalError("NetworkRule.port: 53 goes with a domain, not with an address: DNS is matched by name")

    def matches(self, protocol: str, target: Endpoint, hostname: str | None) -> bool:
        """Return True if a flow ("tcp" or "udp") to `target`, of which `hostname` may be known, is one of these."""
        if self.protocol and self.protocol != _PROTOCOLS.get(protocol):
            return False
        if self.port and self.port != target.port:
            return False
        if self.match_network is not None:
            if not isinstance(target.host, bytes) or len(target.host) != self.match_network.max_prefixlen // 8:
                return False
            mask = int(self.match_network.netmask)
            return int.from_bytes(target.host, "big") & mask == int(self.match_network.network_address)
        if self.destination is not None:
            name = (target.host if isinstance(target.host, str) else hostname or "").lower().rstrip(".")
            below = "." in self.destination and name.endswith("." + self.destination)
            return name == self.destination or below
        return isinstance(target.host, str) or not ip_address(target.host).is_loopback
