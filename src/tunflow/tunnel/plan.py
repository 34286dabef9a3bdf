"""A profile made ready: links parsed, names and settings decided, so that nothing in it can be wrong any more."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from tunflow.addresses import ip_address, ip_interface, ip_network
from tunflow.dataplane.forwarded_names import NameService
from tunflow.dns.config import DNSConfig
from tunflow.dns.upstream import DIRECT as DIRECT_RESOLVER
from tunflow.dns.upstream import Upstream
from tunflow.errors import LocalError
from tunflow.host.network.policy_routes import PRIVATE
from tunflow.host.network.settings import EVERYTHING, AppScope, HostDNS, HostSettings
from tunflow.host.program.private_network import PrivateNetwork
from tunflow.profiles.profile import Profile
from tunflow.protocols.contract import Settings
from tunflow.protocols.direct.settings import DirectServer
from tunflow.protocols.registry import parse_server
from tunflow.rules.cidr import CIDRSet, IPNetwork
from tunflow.rules.table import RuleTable
from tunflow.rules.targets import BUILT_IN, DIRECT, PROXY
from tunflow.tunnel import rule_data
from tunflow.tunnel.app_groups import APPS
from tunflow.tunnel.app_rules import asks_for_processes
from tunflow.tunnel.dns_plan import dns_config
from tunflow.tunnel.routing import make_table, server_chains
from tunflow.tunnel.rule_lists import RuleLists

T = TypeVar("T")

Names = NameService | DNSConfig | None
"""Who answers names: a resolver behind the small forwarder, the full name server, or nobody."""
ParseDNS = Callable[[str], Names]
"""What a DNS mode means (`tcp`, `udp://9.9.9.9`, `fake`, `off` …). Raises LocalError."""


Hop = tuple[str, int]
"""Host and port of a server that the tunnel's own sockets connect to."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the engine runs."""

    profile: Profile
    chains: dict[str, tuple[Settings, ...]]
    """Every server or chain of servers by name."""
    names: Names
    host: HostSettings
    """Without the servers' addresses, which are known once they are found."""
    inside: frozenset[bytes]
    """The tunnel's own addresses that the stack answers for, packed."""
    table: RuleTable
    """The rules; they are long to read and short to ask."""

    @property
    def has_rules(self) -> bool:
        """Whether rules decide where flows go, and not the one server alone."""
        profile = self.profile
        return bool(profile.rules or profile.servers or profile.groups or profile.apps)

    @property
    def asks_for_processes(self) -> bool:
        """Whether rules ask whose a flow is, or a provider may."""
        return asks_for_processes(self.profile)

    @property
    def outer_resolvers(self) -> tuple[str, ...]:
        """The addresses of resolvers that are asked past the tunnel."""
        return tuple(str(ip_address(each.target.host)) for each in self._direct_resolvers if _is_known(each))

    @property
    def files(self) -> frozenset[tuple[Path, bool]]:
        """What the tunnel reads while it is up, and (True) appends to: root's, perhaps."""
        if self.profile.filter is None:
            return frozenset()
        from tunflow.tunnel.filtering import files  # noqa: PLC0415 - much that few need

        return files(self.profile)

    @property
    def fake_addresses(self) -> Path | None:
        """The folder in which fake addresses are kept."""
        fake = self.names.fake_ip if isinstance(self.names, DNSConfig) else None
        return Path(fake.file).parent if fake is not None and fake.file is not None else None

    @property
    def _direct_resolvers(self) -> list[Upstream]:
        groups = self.names.groups.values() if isinstance(self.names, DNSConfig) else ()
        return [each for group in groups for each in group.upstreams if (each.via or group.via) == DIRECT_RESOLVER]

    @property
    def labels(self) -> tuple[str, ...]:
        """The servers as people may see them."""
        if self.profile.provider is not None:
            return (self.profile.provider,)
        if not self.has_rules:
            return tuple(server.label for server in self.chains[PROXY])
        return tuple(f"{name}: {' -> '.join(each.label for each in chain)}" for name, chain in self.chains.items())

    @property
    def first_hops(self) -> tuple[Hop, ...]:
        """The servers that the tunnel's sockets connect to; none when they go to each target itself, or nowhere."""
        hops = (_first_hop(chain) for chain in self.chains.values())
        return tuple(dict.fromkeys(hop for hop in hops if hop is not None))

    @property
    def goes_direct(self) -> bool:
        """Whether flows may leave for their targets themselves."""
        profile = self.profile
        if profile.provider is not None or not all(map(_is_known, self._direct_resolvers)):
            return True
        if any(all(isinstance(server, DirectServer) for server in chain) for chain in self.chains.values()):
            return True
        targets = [word for rule in profile.rules for word in rule.split(",")]
        targets += [name for group in profile.groups.values() for name in group.servers]
        return DIRECT in map(str.strip, targets) or bool(profile.apps)


def make_plan(profile: Profile, parse_dns: ParseDNS, lists: RuleLists | None = None) -> Plan:
    """The plan that a profile makes; `lists` are those of its rules.

    Raises LocalError that names the file, the line and the key.
    """
    network = PrivateNetwork()
    lists = lists or RuleLists(profile)
    names = _names(profile, parse_dns, lists)
    chains = {
        name: tuple(_at(profile, _key(profile, name), parse_server, link) for link in links)
        for name, links in server_chains(profile).items()
    }
    if profile.provider is not None and (chains or profile.rules):
        raise LocalError(
            f"{profile.at('provider')}: a provider carries everything: leave out server, servers and rules"
        )
    if not chains and not profile.rules and profile.provider is None:
        raise LocalError(f'{profile.at("server")}: no server: give one as server = ["ss://…"]')
    inside = frozenset(ip_address(address).packed for address in (network.resolver4, network.resolver6))
    table = make_table(profile, {*chains, *profile.groups, *BUILT_IN}, lists)
    return Plan(profile, chains, names, _host_settings(profile, network, names), inside, table)


def _names(profile: Profile, parse_dns: ParseDNS, lists: RuleLists) -> Names:
    """Who answers names, also those asked of the LAN's resolvers.

    Fake addresses are kept in a file, so that they mean the same after a restart.
    """
    names = dns_config(profile, lists=lists) or _at(profile, ("dns", "mode"), parse_dns, profile.dns.mode)
    if isinstance(names, DNSConfig) and names.fake_ip is not None:
        file = rule_data.directories()[0] / "fake-ip" / profile.name
        return replace(names, fake_ip=replace(names.fake_ip, file=str(file)))
    if isinstance(names, NameService):
        return replace(names, neighbours=CIDRSet(PRIVATE))
    return names


def _is_known(resolver: Upstream) -> bool:
    return isinstance(resolver.target.host, bytes)


def _key(profile: Profile, name: str) -> tuple[str, ...]:
    return ("servers", name) if name in profile.servers else ("server",)


def _first_hop(chain: tuple[Settings, ...]) -> Hop | None:
    """What the chain's socket connects to; None when it goes to each target itself, or nowhere."""
    return next((server.first_hop for server in chain if not isinstance(server, DirectServer)), None)


def _host_settings(profile: Profile, network: PrivateNetwork, names: Names) -> HostSettings:
    tunnel = profile.tunnel
    addresses = tunnel.addresses or (
        f"{network.address4}/{network.prefix4}",
        f"{network.address6}/{network.prefix6}",
    )
    dns = None
    if names is not None and not tunnel.per_app:
        match = tuple(profile.dns.match_domains) or None
        dns = HostDNS(tuple(map(ip_address, (network.resolver4, network.resolver6))), match=match)
    return HostSettings(
        addresses=tuple(map(ip_interface, addresses)),
        mtu=tunnel.mtu,
        included=_included(profile, names),
        excluded=_routes(profile, "excluded_routes", tunnel.excluded_routes),
        exclude_lan=tunnel.exclude_lan,
        dns=dns,
        carry_dns=names is not None and not profile.dns.match_domains,
        kill_switch=tunnel.kill_switch,
        gateways=tuple(tunnel.gateway),
        cgroups=(APPS,) if tunnel.per_app else tuple(tunnel.bypass_groups),
        scope=AppScope.ONLY if tunnel.per_app else AppScope.BYPASS,
    )


def _routes(profile: Profile, key: str, texts: Iterable[str]) -> tuple[IPNetwork, ...]:
    """The networks of a key's prefixes and countries. Raises LocalError."""
    try:
        return rule_data.networks(texts)
    except LocalError as error:
        raise LocalError(f"{profile.at('tunnel', key)}: {error}") from None


def _included(profile: Profile, names: Names) -> tuple[IPNetwork, ...]:
    """What goes into the tunnel: fake addresses in any case."""
    included = _routes(profile, "included_routes", profile.tunnel.included_routes)
    if included and isinstance(names, DNSConfig) and names.fake_ip is not None:
        included += (ip_network(names.fake_ip.pool4), ip_network(names.fake_ip.pool6))
    return included or EVERYTHING


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
