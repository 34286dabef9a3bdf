"""What becomes of flows and names, and what the host must have for it: a profile or a few servers made ready.

A plan holds values only, all of them checked: nothing in it can be wrong any more, and nothing in it was looked up. It
is cheap to import, so that `tunflow run` with a server need not wait for what reads profiles (`tunnel.compile`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tunflow.addresses import ip_address, ip_interface
from tunflow.dns.config import DNSConfig
from tunflow.dns.config import GroupConfig as ResolverList
from tunflow.dns.upstream import DIRECT as DIRECT_RESOLVER
from tunflow.dns.upstream import Upstream
from tunflow.host.network.settings import HostSettings
from tunflow.host.program.private_network import PrivateNetwork
from tunflow.outbound.chain import check_chain
from tunflow.protocols.contract import ListensByUDP, PacketTunnel, Settings
from tunflow.protocols.direct.settings import DirectServer
from tunflow.rules.targets import PROXY

if TYPE_CHECKING:
    from tunflow.profiles.profile import Profile
    from tunflow.profiles.sections.api import APISection
    from tunflow.rules.groups import Group
    from tunflow.rules.table import RuleTable, Verdict
    from tunflow.tunnel.kept_profile import KeptProfile

Hop = tuple[str, int]
"""Host and port of a server that the tunnel's own sockets connect to."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What chooses between servers."""

    table: RuleTable
    """Long to read and short to ask."""
    groups: tuple[Group, ...]
    default: Verdict
    """For flows that no rule is about."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What `tunnel.assemble` puts together and the engine runs."""

    chains: Mapping[str, tuple[Settings, ...]]
    """Every server or chain of servers by name, first hop first."""
    names: DNSConfig | None
    """How names are answered; None where nobody does."""
    inside: frozenset[bytes]
    """The tunnel's own addresses that the stack answers for, packed."""
    host: HostSettings
    """Without the servers' addresses, which are known once they are found."""
    rules: Rules | None = None
    """None where nothing is to be chosen: `chains` has one entry, or a provider carries everything."""
    asks_for_processes: bool = False
    """True if somebody asks whose a flow is."""
    file: str = ""
    """The profile's file; "" for none."""
    has_rules: bool = False
    """True if rules decide where flows go, and not the one server alone."""
    may_leave_directly: bool = False
    """True if a rule or a group may have flows leave for their targets themselves."""
    provider: str | None = None
    """The name of the provider that carries everything; None where servers do."""
    is_on_demand: bool = False
    """True if the tunnel comes and goes by rules."""
    portal_probes: tuple[str, ...] = ()
    """The pages that tell whether a network's login page is in the way."""
    filters: bool = False
    """True if there is a content filter."""
    files: frozenset[tuple[Path, bool]] = frozenset()
    """What the tunnel reads while it is up, and (True) appends to: root's, perhaps."""
    group_memory: Path | None = None
    """The file in which is kept what was chosen in groups, and how servers did; None without groups."""
    fetched_lists: tuple[Path, ...] = ()
    """The folders of lists that are fetched again while the tunnel is up, by themselves or by whoever uses the API;
    none without such."""
    api: APISection | None = None
    """Where dashboards are served, as the profile says; None where it says nothing."""
    kept: KeptProfile | None = field(default=None, repr=False)
    """What it was made of; None for servers alone."""

    @property
    def profile(self) -> Profile | None:
        """What it was made of; None for servers alone. It may have to be opened first (`KeptProfile`)."""
        return None if self.kept is None else self.kept.profile

    @property
    def packet_hops(self) -> frozenset[Hop | None]:
        """The servers that carry packets; None for one without an address."""
        servers = [server for chain in self.chains.values() for server in chain]
        return frozenset(server.first_hop for server in servers if isinstance(server, PacketTunnel))

    @property
    def is_one_packet_tunnel(self) -> bool:
        """True if nothing leaves but through one server that carries packets: until that stands, nothing works."""
        servers = [server for chain in self.chains.values() for server in chain]
        tunnels = [server for server in servers if isinstance(server, PacketTunnel)]
        return len(self.chains) == len(tunnels) == 1 and not self.goes_direct

    @property
    def silent_hops(self) -> frozenset[Hop | None]:
        """The servers that take no TCP to see that they live: packet tunnels, and what listens by UDP."""
        servers = [server for chain in self.chains.values() for server in chain]
        by_udp = (each for each in servers if isinstance(each, ListensByUDP) and each.takes_datagrams_only)
        return self.packet_hops | {each.first_hop for each in by_udp}

    def at(self, *key: str | int) -> str:
        """The place of a key of the profile, to begin an error with."""
        return "" if self.profile is None else self.profile.at(*key)

    @property
    def for_attached(self) -> Plan:
        """The same for a device that somebody else made: no address there is the tunnel's, unless it answers names."""
        return self if self.names is not None else replace(self, inside=frozenset())

    @property
    def outer_resolvers(self) -> tuple[str, ...]:
        """The addresses of resolvers that are asked past the tunnel."""
        return tuple(str(ip_address(each.target.host)) for each in self._direct_resolvers if _is_known(each))

    @property
    def fake_addresses(self) -> Path | None:
        """The folder in which fake addresses are kept."""
        fake = self.names.fake_ip if self.names is not None else None
        return Path(fake.file).parent if fake is not None and fake.file is not None else None

    @property
    def resolver_groups(self) -> tuple[ResolverList, ...]:
        """The resolvers that are asked as one."""
        return tuple(self.names.groups.values()) if self.names is not None else ()

    @property
    def _direct_resolvers(self) -> list[Upstream]:
        groups = self.resolver_groups
        return [each for group in groups for each in group.upstreams if (each.via or group.via) == DIRECT_RESOLVER]

    @property
    def labels(self) -> tuple[str, ...]:
        """The servers as people may see them."""
        if self.provider is not None:
            return (self.provider,)
        if not self.has_rules:
            return tuple(server.label for server in self.chains[PROXY])
        return tuple(f"{name}: {' -> '.join(each.label for each in chain)}" for name, chain in self.chains.items())

    @property
    def first_hops(self) -> tuple[Hop, ...]:
        """The servers that the tunnel's sockets connect to; none when they go to each target itself, or nowhere."""
        return first_hops(self.chains)

    @property
    def goes_direct(self) -> bool:
        """True if flows may leave for their targets themselves."""
        if self.provider is not None or not all(map(_is_known, self._direct_resolvers)):
            return True
        if any(all(isinstance(server, DirectServer) for server in chain) for chain in self.chains.values()):
            return True
        return self.may_leave_directly


def plan_of_servers(servers: Sequence[Settings]) -> Plan:
    """The plan of servers that have everything but names, first hop first; of none where all goes direct.

    Raises LocalError.
    """
    check_chain(servers)
    network = PrivateNetwork()
    return Plan(
        {PROXY: tuple(servers)},
        None,
        own_addresses(network),
        HostSettings(tuple(map(ip_interface, host_addresses(network)))),
        asks_for_processes=any(server.wants_programs for server in servers),
    )


def own_addresses(network: PrivateNetwork) -> frozenset[bytes]:
    """The addresses that the stack answers for, packed."""
    return frozenset(ip_address(address).packed for address in (network.resolver4, network.resolver6))


def host_addresses(network: PrivateNetwork) -> tuple[str, str]:
    """The addresses of a device with their prefixes, where nobody says others."""
    return f"{network.address4}/{network.prefix4}", f"{network.address6}/{network.prefix6}"


def first_hops(chains: Mapping[str, Sequence[Settings]]) -> tuple[Hop, ...]:
    """What the sockets of chains connect to, each once."""
    hops = map(_first_hop, chains.values())
    return tuple(dict.fromkeys(hop for hop in hops if hop is not None))


def _first_hop(chain: Sequence[Settings]) -> Hop | None:
    """What a chain's socket connects to; None when it goes to each target itself, or nowhere."""
    return next((server.first_hop for server in chain if not isinstance(server, DirectServer)), None)


def with_addresses(settings: HostSettings, servers: tuple[str, ...] | None) -> HostSettings:
    """The settings with the addresses of servers that have been found; None where flows go to any."""
    found = None if servers is None else tuple(dict.fromkeys(map(ip_address, servers)))
    return replace(settings, servers=found)


def _is_known(resolver: Upstream) -> bool:
    return isinstance(resolver.target.host, bytes)
