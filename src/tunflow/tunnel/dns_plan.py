"""A profile's `[dns]` made ready: lists read, resolvers parsed, so that nothing in it can be wrong any more."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from tunflow.addresses import ip_address
from tunflow.dns.chinadns import DOMESTIC, FOREIGN, ChinaDNS
from tunflow.dns.chinadns_ng import ChinaDNSNG
from tunflow.dns.config import BOOTSTRAP, SERVERS, DNSConfig, FakeIP, GroupConfig
from tunflow.dns.fake_ip import FakeIPMap
from tunflow.dns.proof import Validation
from tunflow.dns.questions import DNSSEC
from tunflow.dns.real_names import is_real_by_nature
from tunflow.dns.resolver_plan import ResolverPlan
from tunflow.dns.selection import AddressTest, NameTest, OneGroup, Routes, Selector
from tunflow.dns.upstream import DIRECT, TUNNEL, Upstream, parse_upstream
from tunflow.errors import LocalError
from tunflow.paths import parse_path
from tunflow.profiles.profile import Profile
from tunflow.profiles.sections.dns import GEOSITE, RULE_SET, ChinaDNSSection, DNSSection
from tunflow.rules.cidr import CIDRSet
from tunflow.rules.domains import DomainSet, normalise
from tunflow.rules.name_patterns import NamePatterns
from tunflow.rules.syntax import Context
from tunflow.tunnel import rule_data
from tunflow.tunnel.known_names import public_resolvers
from tunflow.tunnel.name_tests import AnyOf, ByName, Hides, InBut, Real, Stays
from tunflow.tunnel.rule_data import Countries
from tunflow.tunnel.rule_lists import RuleLists

T = TypeVar("T")

DEFAULT_SERVERS = ("tcp://1.1.1.1", "tcp://8.8.8.8")
"""Public resolvers, over what every server carries."""


def dns_config(profile: Profile, file: str | None = None, lists: RuleLists | None = None) -> DNSConfig | None:
    """What the profile's name server runs by; None where `mode` alone says it. Raises LocalError.

    `file` is where the map of fake addresses is kept; `lists` are those of the profile's rules.
    """
    section = profile.dns
    if not section.is_full:
        return None
    context = (lists or RuleLists(profile)).context
    groups = _groups(section)
    selector, hides = _selector(profile, context)
    routes: list[tuple[str, NameTest, str]] = []
    for number, route in enumerate(section.routes):
        name = f"routes[{number}]"
        groups[name] = GroupConfig(_parse(route.servers), section.race, TUNNEL)
        routes.append((f"dns.routes[{number}]", _test(profile, route.domains, context), name))
    if routes:
        selector = Routes(tuple(routes), selector)
    routed = tuple(test for _, test, _ in routes)
    real = _must_be_real(profile, context, routed)
    hosts, aliases = _hosts(profile)
    plan = ResolverPlan(
        selector, hosts, aliases, real, hides, _stays(section, routed),
        dnssec=DNSSEC(section.dnssec), validation=_validation(profile),
    )  # fmt: skip
    fake = _fake(profile, file)
    config = DNSConfig(groups, plan, fake, cache_entries=section.cache_entries, block_encrypted=section.block_encrypted)
    return replace(config, resolvers=public_resolvers()) if section.block_encrypted else config


def _validation(profile: Profile) -> Validation | None:
    """What checks signatures, if the profile wants that. Raises LocalError."""
    if profile.dns.dnssec != "validate":
        return None
    from tunflow.dns.validation import ROOT_ANCHORS, Signatures, Validator  # noqa: PLC0415 (dnspython, for who uses it)

    try:
        return Signatures(Validator(profile.dns.trust_anchors or ROOT_ANCHORS, time.time))
    except LocalError as error:
        raise LocalError(f"{profile.at('dns', 'trust_anchors')}: dns.trust_anchors: {error}") from None


MOST_ALIASES = 8
"""Names that stand for others in a row: more is a circle."""


def _hosts(profile: Profile) -> tuple[Mapping[str, tuple[bytes, ...]], Mapping[str, str]]:
    """Names with their addresses, and names that are looked up as others. Raises LocalError."""
    addresses: ByName[tuple[bytes, ...]] = ByName()
    aliases: ByName[str] = ByName()
    for name, found in profile.dns.hosts.items():
        packed = [_packed(each) for each in found]
        place = f"{profile.at('dns', 'hosts', name)}: dns.hosts: {name!r}"
        try:
            if None not in packed:
                addresses.put(name, tuple(each for each in packed if each is not None))
            elif len(found) == 1:
                aliases.put(name, found[0])
            else:
                raise LocalError(f"{place} has addresses, or one other name")
        except ValueError as error:
            raise LocalError(f"{place} is no name: {error}") from None
    for name in profile.dns.hosts:
        if _end(name, aliases) in aliases:
            raise LocalError(f"{profile.at('dns', 'hosts', name)}: dns.hosts: {name!r} stands for itself in the end")
    for name, other in list(aliases.items()):
        found_addresses = addresses.get(_end(other, aliases))
        if found_addresses is not None:
            addresses.put(name, found_addresses)
            del aliases[name]
        else:
            aliases[name] = _end(other, aliases)
    return addresses, aliases


def _end(name: str, aliases: Mapping[str, str]) -> str:
    """The name that a name stands for in the end."""
    for _ in range(MOST_ALIASES):
        name = aliases.get(name, name)
    return name


def _packed(text: str) -> bytes | None:
    try:
        return ip_address(text).packed
    except ValueError:
        return None


def _fake(profile: Profile, file: str | None) -> FakeIP | None:
    section = profile.dns.fake_ip
    if section is None:
        return FakeIP(file=file) if profile.dns.mode == "fake" else None
    try:
        FakeIPMap(section.pool4, section.pool6, section.names)
    except LocalError as error:
        raise LocalError(f"{profile.at('dns', 'fake_ip')}: {error}") from None
    return FakeIP(section.pool4, section.pool6, section.names, file)


def _groups(section: DNSSection) -> dict[str, GroupConfig]:
    groups: dict[str, GroupConfig] = {}
    if section.domestic:
        # The table of the original is about every resolver's answer, so all are asked at once.
        race = section.race or section.chinadns.table == "original"
        groups[DOMESTIC] = GroupConfig(_parse(section.domestic), race, DIRECT)
        groups[FOREIGN] = GroupConfig(_parse(section.foreign), race, TUNNEL, section.chinadns.mutation)
    else:
        groups[SERVERS] = GroupConfig(_parse(section.servers or DEFAULT_SERVERS), section.race, TUNNEL)
    if section.bootstrap:
        groups[BOOTSTRAP] = GroupConfig(_parse(section.bootstrap), section.race, DIRECT)
    return groups


def _parse(resolvers: tuple[str, ...]) -> tuple[Upstream, ...]:
    return tuple(map(parse_upstream, resolvers))


def _selector(profile: Profile, context: Context) -> tuple[Selector, Hides]:
    section = profile.dns
    if not section.domestic:
        return OneGroup(SERVERS), Hides(section.hide_aaaa)
    options = section.chinadns
    inside = _but(_country(profile, options), CIDRSet(options.distrusted))
    blacklist = _networks(profile, options.blacklist).__contains__ if options.blacklist else None
    if options.table == "original":
        original = ChinaDNS(inside, blacklist, options.bidirectional, options.mutation, options.delay)
        return original, Hides(section.hide_aaaa)
    refined = ChinaDNSNG(
        inside,
        _names(profile, options.domestic_names).__contains__ if options.domestic_names else None,
        _foreign(profile, options, context),
        blacklist,
        options.accept_empty,
        frozenset(options.no_aaaa),
    )
    return refined, Hides(section.hide_aaaa, refined)


def _but(inside: AddressTest, distrusted: CIDRSet) -> AddressTest:
    """The addresses of a country that may be believed to be in it."""
    return InBut(inside, distrusted) if distrusted else inside


def _foreign(profile: Profile, options: ChinaDNSSection, context: Context) -> NameTest | None:
    """The names that only foreign resolvers are asked for; None for none."""
    listed = _names(profile, options.foreign_names) if options.foreign_names else DomainSet()
    if not options.foreign_domains:
        return listed.__contains__ if listed else None
    own = _test(profile, options.foreign_domains, context)
    return AnyOf((listed.__contains__, own))


def _stays(section: DNSSection, routed: tuple[NameTest, ...]) -> Callable[[str, int], bool]:
    """Names that no resolver is asked for, but for those with resolvers of their own and those that the user names."""
    asked = DomainSet(suffixes=map(normalise, section.ask_anyway))
    return Stays(AnyOf((asked.__contains__, *routed)))


def _must_be_real(profile: Profile, context: Context, routed: tuple[NameTest, ...]) -> NameTest:
    fake_ip = profile.dns.fake_ip
    own = _test(profile, fake_ip.real if fake_ip is not None else (), context)
    if fake_ip is not None and fake_ip.only:
        only = _test(profile, fake_ip.only, context)
        return Real(only, own)
    # Names with resolvers of their own are names of another network: the server does not know them.
    return AnyOf((is_real_by_nature, own, *routed))


def _test(profile: Profile, patterns: tuple[str, ...], context: Context) -> NameTest:
    """The test whether a name is one of a list of patterns, rule sets and topics. Raises LocalError."""
    names = NamePatterns(each for each in patterns if not each.startswith((RULE_SET, GEOSITE)))
    tests: list[NameTest] = []
    for each in patterns:
        kind, _, name = each.partition(":")
        if each.startswith(RULE_SET):
            if name not in context.rule_sets:
                raise LocalError(f"{profile.at('dns')}: dns: there is no rule set {name!r}")
            tests.append(context.rule_sets[name].is_about)
        elif each.startswith(GEOSITE):
            try:
                tests.append(context.sites(name.lower()).names)
            except LocalError as error:
                raise type(error)(f"{profile.at('dns')}: dns: {kind}:{name}: {error}") from None
    if not tests:
        return names.__contains__
    return AnyOf((names.__contains__, *tests))


def _country(profile: Profile, options: ChinaDNSSection) -> AddressTest:
    if options.country_networks is not None:
        return _networks(profile, options.country_networks).__contains__
    database = _path(profile, profile.geoip) if profile.geoip else None
    try:
        return Countries(database).test(options.country).__contains__
    except LocalError as error:
        # What is missing may be fetched, and is told apart for that.
        raise type(error)(f"{profile.at('dns', 'chinadns', 'country')}: {error}") from None


def _networks(profile: Profile, file: str) -> CIDRSet:
    """Networks or addresses, one a line."""
    path = _path(profile, file)
    lines = [(number, line) for number, line in _lines(path) if line]
    try:
        return CIDRSet(line for _, line in lines)
    except ValueError:
        for number, line in lines:
            try:
                CIDRSet([line])
            except ValueError as error:
                raise LocalError(f"{path}:{number}: not a network: {error}") from None
        raise


def _names(profile: Profile, file: str) -> DomainSet:
    """Domains, one a line, or as dnsmasq's `server=/DOMAIN/ADDRESS`."""
    path = _path(profile, file)
    names: list[str] = []
    for number, line in _lines(path):
        if not line:
            continue
        text = line.split("/")[1] if line.startswith("server=/") and line.count("/") > 1 else line
        try:
            names.append(normalise(text.removeprefix("+.").removeprefix("*.").removeprefix(".")))
        except ValueError as error:
            raise LocalError(f"{path}:{number}: not a domain: {error}") from None
    return DomainSet(suffixes=names)


def _lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a list without what stands behind `#`. Raises LocalError."""
    try:
        text = rule_data.read(path).decode()
    except UnicodeDecodeError as error:
        raise LocalError(f"{path}: not UTF-8 text (byte {error.start})") from None
    return [(number, line.partition("#")[0].strip()) for number, line in enumerate(text.splitlines(), 1)]


def _path(profile: Profile, text: str) -> Path:
    return Path(profile.file).parent / parse_path(text)
