"""What a tunnel asks of the system: NETunnelNetworkSettings and its kinds."""

from __future__ import annotations

from dataclasses import dataclass

from tunflow.errors import LocalError
from tunflow.providers import check
from tunflow.providers.dns_settings import DNSSettings
from tunflow.providers.ip_settings import IPv4Settings, IPv6Settings
from tunflow.providers.network_rule import NetworkRule
from tunflow.providers.proxy_settings import ProxySettings

SMALLEST_MTU = 576
"""RFC 791 section 3.1: what every host takes. With IPv6 it is 1280 (RFC 8200 section 5)."""
SMALLEST_MTU_V6 = 1280
LARGEST_MTU = 65535


@dataclass(frozen=True, kw_only=True)
class TunnelNetworkSettings:
    """NETunnelNetworkSettings. `tunnel_remote_address` is shown to the user; it may be any address or name."""

    tunnel_remote_address: str
    dns_settings: DNSSettings | None = None
    proxy_settings: ProxySettings | None = None

    def __post_init__(self) -> None:
        kind = type(self).__name__
        if not isinstance(self.tunnel_remote_address, str) or not self.tunnel_remote_address:
            raise LocalError(f"{kind}.tunnel_remote_address: expected the server's address or name, to show")
        _expect(kind, "dns_settings", self.dns_settings, DNSSettings)
        _expect(kind, "proxy_settings", self.proxy_settings, ProxySettings)


@dataclass(frozen=True, kw_only=True)
class PacketTunnelNetworkSettings(TunnelNetworkSettings):
    """NEPacketTunnelNetworkSettings: also addresses, routes and the size of packets.

    `mtu` in bytes; without it, the physical interface's less `tunnel_overhead_bytes`.
    """

    ipv4_settings: IPv4Settings | None = None
    ipv6_settings: IPv6Settings | None = None
    mtu: int | None = None
    tunnel_overhead_bytes: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        kind = type(self).__name__
        _expect(kind, "ipv4_settings", self.ipv4_settings, IPv4Settings)
        _expect(kind, "ipv6_settings", self.ipv6_settings, IPv6Settings)
        if self.ipv4_settings is None and self.ipv6_settings is None:
            raise LocalError(f"{kind}: the tunnel has no address: expected ipv4_settings or ipv6_settings")
        if self.mtu is not None:
            least = SMALLEST_MTU if self.ipv6_settings is None else SMALLEST_MTU_V6
            check.within(f"{kind}.mtu", self.mtu, least, LARGEST_MTU)
        check.within(f"{kind}.tunnel_overhead_bytes", self.tunnel_overhead_bytes, 0, 1000)

    def mtu_on(self, physical: int) -> int:
        """The tunnel's MTU over an interface with the MTU `physical`."""
        if self.mtu is not None:
            return self.mtu
        least = SMALLEST_MTU if self.ipv6_settings is None else SMALLEST_MTU_V6
        return max(least, min(physical - self.tunnel_overhead_bytes, LARGEST_MTU))


@dataclass(frozen=True, kw_only=True)
class TransparentProxyNetworkSettings(TunnelNetworkSettings):
    """NETransparentProxyNetworkSettings: which flows the provider is asked about. Excluded rules win."""

    included_network_rules: tuple[NetworkRule, ...] = ()
    excluded_network_rules: tuple[NetworkRule, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("included_network_rules", "excluded_network_rules"):
            rules = tuple(getattr(self, field))
            object.__setattr__(self, field, rules)
            for rule in rules:
                _expect("TransparentProxyNetworkSettings", field, rule, NetworkRule)


def _expect(kind: str, field: str, value: object, wanted: type) -> None:
    if value is not None and not isinstance(value, wanted):
        raise LocalError(f"{kind}.{field}: {value!r} is not {wanted.__name__}")
