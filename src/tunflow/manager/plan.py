"""A profile made ready: links parsed, names and settings decided, so that nothing in it can be wrong any more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_interface, ip_network
from typing import TypeVar

from tunflow.errors import LocalError
from tunflow.host.private_network import PrivateNetwork
from tunflow.host.settings import EVERYTHING, HostDNS, HostSettings
from tunflow.io.driver import NameService
from tunflow.manager.profile import Profile
from tunflow.proxies.link import BlockServer, DirectServer, Server, parse_server

T = TypeVar("T")

ParseDNS = Callable[[str], NameService | None]
"""What a DNS mode means (`tcp`, `udp://9.9.9.9`, `off` …). Raises LocalError."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the engine runs."""

    profile: Profile
    servers: tuple[Server, ...]
    names: NameService | None
    host: HostSettings
    """Without the servers' addresses, which are known once they are found."""
    inside: frozenset[bytes]
    """The tunnel's own addresses that the stack answers for, packed."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The servers as people may see them."""
        return tuple(server.label for server in self.servers)

    @property
    def first_hop(self) -> tuple[str, int] | None:
        """Host and port that the tunnel's sockets connect to; None when they go to each target itself, or nowhere."""
        for server in self.servers:
            if isinstance(server, BlockServer):
                return None
            if not isinstance(server, DirectServer):
                return server.host, server.port
        return None

    @property
    def goes_direct(self) -> bool:
        """Whether flows leave for their targets themselves."""
        return all(isinstance(server, DirectServer) for server in self.servers)


def make_plan(profile: Profile, parse_dns: ParseDNS) -> Plan:
    """The plan that a profile makes. Raises LocalError that names the file, the line and the key."""
    network = PrivateNetwork()
    names = _at(profile, ("dns", "mode"), parse_dns, profile.dns.mode)
    servers = tuple(_at(profile, ("server",), parse_server, link) for link in profile.server)
    if not servers:
        raise LocalError(f'{profile.at("server")}: no server: give one as server = ["ss://…"]')
    inside = frozenset(ip_address(address).packed for address in (network.resolver4, network.resolver6))
    return Plan(profile, servers, names, _host_settings(profile, network, names is not None), inside)


def _host_settings(profile: Profile, network: PrivateNetwork, has_names: bool) -> HostSettings:
    tunnel = profile.tunnel
    addresses = tunnel.addresses or (
        f"{network.address4}/{network.prefix4}",
        f"{network.address6}/{network.prefix6}",
    )
    dns = None
    if has_names:
        match = tuple(profile.dns.match_domains) or None
        dns = HostDNS(tuple(map(ip_address, (network.resolver4, network.resolver6))), match=match)
    return HostSettings(
        addresses=tuple(map(ip_interface, addresses)),
        mtu=tunnel.mtu,
        included=tuple(map(ip_network, tunnel.included_routes)) or EVERYTHING,
        excluded=tuple(map(ip_network, tunnel.excluded_routes)),
        exclude_lan=tunnel.exclude_lan,
        dns=dns,
        kill_switch=tunnel.kill_switch,
        gateways=tuple(tunnel.gateway),
    )


def with_addresses(settings: HostSettings, servers: tuple[str, ...] | None) -> HostSettings:
    """The settings with the addresses of servers that have been found; None where flows go to any."""
    found = None if servers is None else tuple(dict.fromkeys(map(ip_address, servers)))
    return replace(settings, servers=found)


def _at(profile: Profile, key: tuple[str, ...], parse: Callable[[str], T], text: str) -> T:
    """What `parse` makes of a value; its complaint says where in the profile that stands."""
    try:
        return parse(text)
    except LocalError as error:
        raise LocalError(f"{profile.at(*key)}: {error}" if profile.file else str(error)) from None
