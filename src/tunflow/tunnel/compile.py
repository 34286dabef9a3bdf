"""A profile compiled to a plan: the one way from what a user saved to what runs, for every command alike.

Nothing is looked up, opened or changed here but the files that the profile names: rules, lists, data of countries. What
a profile gets wrong is said here, with file, line and key, and never later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from tunflow.addresses import ip_address, ip_interface, ip_network
from tunflow.dns.config import DNSConfig
from tunflow.errors import LocalError
from tunflow.host.network.policy_routes import PRIVATE
from tunflow.host.network.settings import EVERYTHING, AppScope, HostDNS, HostSettings
from tunflow.host.program.private_network import PrivateNetwork
from tunflow.outbound.chain import check_chain
from tunflow.profiles.profile import Profile
from tunflow.profiles.sections.dns import DNSSection
from tunflow.profiles.server_link import ServerLink
from tunflow.protocols.contract import Settings
from tunflow.rules.cidr import CIDRSet, IPNetwork
from tunflow.rules.groups import Group, Groups, Health
from tunflow.rules.health_question import HealthQuestion, parse_statuses
from tunflow.rules.table import Verdict
from tunflow.rules.targets import BUILT_IN, DIRECT, PROXY
from tunflow.tunnel import rule_data
from tunflow.tunnel.app_groups import APPS
from tunflow.tunnel.app_rules import asks_for_processes
from tunflow.tunnel.dns_modes import names_of_mode
from tunflow.tunnel.dns_plan import dns_config
from tunflow.tunnel.kept_profile import KeptProfile
from tunflow.tunnel.name_tests import AnyOf
from tunflow.tunnel.plan import Plan, Rules, host_addresses, own_addresses
from tunflow.tunnel.rule_lists import RuleLists
from tunflow.tunnel.rule_table import make_table
from tunflow.tunnel.server_lists import with_fetched_servers

T = TypeVar("T")

Chains = dict[str, tuple[Settings, ...]]


def compile_profile(profile: Profile, lists: RuleLists | None = None, *, lasting: bool = False) -> Plan:
    """The plan that a profile makes; `lists` are those of its rules.

    In a `lasting` tunnel fake addresses are kept in a file, so that they mean the same after a restart.

    Raises LocalError that names the file, the line and the key.
    """
    network = PrivateNetwork()
    lists = lists or RuleLists(profile)
    profile = with_fetched_servers(profile, lists)
    names = _names(profile, lists, lasting)
    chains = chains_of(profile)
    if profile.provider is not None and (chains or profile.rules):
        raise LocalError(
            f"{profile.at('provider')}: a provider carries everything: leave out server, servers and rules"
        )
    rules = None if profile.provider is not None else _rules(profile, chains, lists)
    return Plan(
        chains,
        names,
        own_addresses(network),
        _host_settings(profile, network, names),
        rules,
        asks_for_processes=asks_for_processes(profile),
        file=profile.file,
        has_rules=profile.provider is None and bool(profile.rules or profile.servers or profile.groups or profile.apps),
        may_leave_directly=_may_leave_directly(profile),
        provider=profile.provider,
        is_on_demand=profile.on_demand.enabled,
        portal_probes=tuple(profile.tunnel.portal_probes),
        filters=profile.filter is not None and profile.filter.enabled,
        files=_files(profile),
        group_memory=rule_data.directories()[0] / "groups" / f"{profile.name}.json" if profile.groups else None,
        fetched_lists=_fetched_lists(profile),
        api=profile.api,
        kept=KeptProfile(profile),
    )


def with_dns_mode(profile: Profile, mode: str) -> Profile:
    """The profile with its names looked up as a mode of the command line says, and by nothing else that it names.

    Raises LocalError for what is no mode.
    """
    try:
        names_of_mode(mode, lambda _: False)  # here: what is wrong with it does not stand in the profile
    except LocalError as error:
        raise LocalError(f"--dns: {error}") from None
    dns = DNSSection(mode=mode, match_domains=profile.dns.match_domains)
    return profile.model_copy(update={"dns": dns})


# Servers and what chooses between them.


def chains_of(profile: Profile) -> Chains:
    """Every server, or chain of servers, by its name. Raises LocalError."""
    links = {name: section.links for name, section in profile.servers.items()}
    if profile.server and PROXY not in links and PROXY not in profile.groups:
        links[PROXY] = profile.server
    for name in (*profile.servers, *profile.groups):
        if name in BUILT_IN:
            kind = "servers" if name in profile.servers else "groups"
            raise LocalError(f"{profile.at(kind, name)}: {name} is a built-in target and cannot be a name")
        if name in profile.servers and name in profile.groups:
            raise LocalError(f"{profile.at('groups', name)}: {name!r} is a server already")
    return {name: _chain(profile, name, each) for name, each in links.items()}


def _chain(profile: Profile, name: str, links: tuple[ServerLink, ...]) -> tuple[Settings, ...]:
    key = ("servers", name) if name in profile.servers else ("server",)
    servers = tuple(link.server for link in links)
    _at(profile, key, check_chain, servers)
    return servers


def _rules(profile: Profile, chains: Chains, lists: RuleLists) -> Rules:
    groups = groups_of(profile, chains)
    if not chains and not profile.rules:
        raise LocalError(f'{profile.at("server")}: no server: give one as server = ["ss://…"]')
    table = make_table(profile, {*chains, *profile.groups, *BUILT_IN}, lists)
    return Rules(table, groups, _default(profile, PROXY in chains or PROXY in profile.groups))


def groups_of(profile: Profile, servers: Mapping[str, object]) -> tuple[Group, ...]:
    """The profile's groups. Raises LocalError."""
    groups = tuple(
        Group(
            name,
            section.type,
            section.servers,
            HealthQuestion(section.url, section.timeout, parse_statuses(section.expected_status)),
            section.interval,
            section.tolerance,
            section.strategy,
            section.lazy,
        )
        for name, section in profile.groups.items()
    )
    try:
        Groups(groups, servers, Health(lambda: 0.0), BUILT_IN)  # which knows what members there may be
    except LocalError as error:
        raise LocalError(f"{profile.at('groups')}: {error}") from None
    return groups


def _default(profile: Profile, has_proxy: bool) -> Verdict:
    """Where flows go that no rule is about. Raises LocalError."""
    last = profile.rules[-1].partition(",")[0].strip().upper() if profile.rules else ""
    if not has_proxy and last not in {"MATCH", "FINAL"}:
        raise LocalError(
            f"{profile.at('rules')}: the last rule must be MATCH,TARGET, since there is no server = … for what no "
            "rule is about"
        )
    return Verdict(PROXY, profile.file or profile.name, profile.line("server") or 0, "server")


# Names.


def _names(profile: Profile, lists: RuleLists, lasting: bool) -> DNSConfig | None:
    """How names are answered, also those asked of the LAN's resolvers, which no server reaches.

    A content filter judges names where they are answered, so there every query is.
    """
    own_or_lan = AnyOf((own_addresses(PrivateNetwork()).__contains__, CIDRSet(PRIVATE).__contains__))
    names = dns_config(profile, lists=lists) or _at(
        profile, ("dns", "mode"), partial(names_of_mode, own=own_or_lan), profile.dns.mode
    )
    if names is not None and profile.filter is not None and profile.filter.enabled:
        names = replace(names, scope=None)
    if lasting and names is not None and names.fake_ip is not None:
        file = rule_data.directories()[0] / "fake-ip" / profile.name
        names = replace(names, fake_ip=replace(names.fake_ip, file=str(file)))
    return names


# The host.


def _host_settings(profile: Profile, network: PrivateNetwork, names: DNSConfig | None) -> HostSettings:
    tunnel = profile.tunnel
    dns = None
    if names is not None and not tunnel.per_app:
        match = tuple(profile.dns.match_domains) or None
        dns = HostDNS(tuple(map(ip_address, (network.resolver4, network.resolver6))), match=match)
    return HostSettings(
        addresses=tuple(map(ip_interface, tunnel.addresses or host_addresses(network))),
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


def _included(profile: Profile, names: DNSConfig | None) -> tuple[IPNetwork, ...]:
    """What goes into the tunnel: fake addresses in any case."""
    included = _routes(profile, "included_routes", profile.tunnel.included_routes)
    if included and names is not None and names.fake_ip is not None:
        included += (ip_network(names.fake_ip.pool4), ip_network(names.fake_ip.pool6))
    return included or EVERYTHING


# What else is asked of a plan.


def _may_leave_directly(profile: Profile) -> bool:
    """Return True if a rule or a group may have flows leave for their targets themselves."""
    targets = [word for rule in profile.rules for word in rule.split(",")]
    targets += [name for group in profile.groups.values() for name in group.servers]
    return DIRECT in map(str.strip, targets) or bool(profile.apps)


def _files(profile: Profile) -> frozenset[tuple[Path, bool]]:
    if profile.filter is None:
        return frozenset()
    from tunflow.tunnel.filtering import files  # noqa: PLC0415 - much that few need

    return files(profile)


def _fetched_lists(profile: Profile) -> tuple[Path, ...]:
    folders = []
    asked = profile.api is not None
    if any(each.url and (each.interval or asked) for each in profile.rule_sets.values()):
        folders.append(rule_data.rule_set_path("").parent)
    if any(each.interval or asked for each in profile.server_lists.values()):
        folders.append(rule_data.server_list_path("").parent)
    return tuple(rule_data.directories()[0] / folder for folder in folders)


S = TypeVar("S")


def _at(profile: Profile, key: tuple[str, ...], read: Callable[[S], T], value: S) -> T:
    """What `read` makes of a value; its complaint says where in the profile that stands."""
    try:
        return read(value)
    except LocalError as error:
        raise LocalError(f"{profile.at(*key)}: {error}" if profile.file else str(error)) from None
