"""A profile's `[dns]` made ready: lists read, resolvers parsed, so that nothing in it can be wrong any more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tunflow.addresses import ip_address
from tunflow.dns.answers import AAAA
from tunflow.dns.chinadns import DOMESTIC, FOREIGN, ChinaDNS
from tunflow.dns.chinadns_ng import ChinaDNSNG
from tunflow.dns.config import BOOTSTRAP, SERVERS, DNSConfig, FakeIP, Group
from tunflow.dns.fake_ip import FakeIPMap
from tunflow.dns.real_names import is_real_by_nature
from tunflow.dns.resolver import Plan
from tunflow.dns.selection import AddressTest, NameTest, OneGroup, Routes, Selector
from tunflow.dns.special_names import stays_here
from tunflow.dns.upstream import DIRECT, TUNNEL, Upstream, parse_upstream
from tunflow.errors import LocalError
from tunflow.profiles.profile import Profile
from tunflow.profiles.sections.dns import RULE_SET, ChinaDNSSection, DNSSection
from tunflow.rules.cidr import CIDRSet
from tunflow.rules.conditions import RuleSet
from tunflow.rules.domains import DomainSet, normalise
from tunflow.rules.name_patterns import NamePatterns
from tunflow.tunnel import rule_data
from tunflow.tunnel.rule_data import Countries
from tunflow.tunnel.rule_lists import RuleLists

Sets = Mapping[str, RuleSet]

DEFAULT_SERVERS = ("tcp://1.1.1.1", "tcp://8.8.8.8")
"""Public resolvers, over what every server carries."""


def dns_config(profile: Profile, file: str | None = None, lists: RuleLists | None = None) -> DNSConfig | None:
    """What the profile's name server runs by; None where `mode` alone says it. Raises LocalError.

    `file` is where the map of fake addresses is kept; `lists` are those of the profile's rules.
    """
    section = profile.dns
    if not section.is_full:
        return None
    sets = (lists or RuleLists(profile)).context.rule_sets
    groups = _groups(section)
    selector, hides = _selector(profile)
    routes: list[tuple[str, NameTest, str]] = []
    for number, route in enumerate(section.routes):
        name = f"routes[{number}]"
        groups[name] = Group(_parse(route.servers), section.race, TUNNEL)
        routes.append((f"dns.routes[{number}]", _test(profile, route.domains, sets), name))
    if routes:
        selector = Routes(tuple(routes), selector)
    routed = tuple(test for _, test, _ in routes)
    real = _must_be_real(profile, sets, routed)
    plan = Plan(selector, _hosts(profile), real, hides, _stays(section, routed))
    fake = _fake(profile, file)
    return DNSConfig(groups, plan, fake, section.cache_entries, block_encrypted=section.block_encrypted)


def _hosts(profile: Profile) -> Mapping[str, tuple[bytes, ...]]:
    exact: dict[str, tuple[bytes, ...]] = {}
    others: list[tuple[NamePatterns, tuple[bytes, ...]]] = []
    for name, found in profile.dns.hosts.items():
        addresses = tuple(ip_address(each).packed for each in found)
        try:
            if "*" in name or name[:1] in {"+", "."}:
                others.append((NamePatterns([name]), addresses))
            else:
                exact[normalise(name)] = addresses
        except ValueError as error:
            raise LocalError(f"{profile.at('dns', 'hosts', name)}: dns.hosts: {name!r} is no name: {error}") from None
    return _Hosts(exact, others) if others else exact


class _Hosts(dict[str, tuple[bytes, ...]]):
    """Names with their addresses, and patterns of names."""

    def __init__(
        self, exact: Mapping[str, tuple[bytes, ...]], others: list[tuple[NamePatterns, tuple[bytes, ...]]]
    ) -> None:
        super().__init__(exact)
        self._others = others

    def get(self, name: str, default: Any = None) -> Any:
        found = super().get(name)
        if found is not None:
            return found
        return next((addresses for patterns, addresses in self._others if name in patterns), default)


def _fake(profile: Profile, file: str | None) -> FakeIP | None:
    section = profile.dns.fake_ip
    if section is None:
        return FakeIP(file=file) if profile.dns.mode == "fake" else None
    try:
        FakeIPMap(section.pool4, section.pool6, section.names)
    except LocalError as error:
        raise LocalError(f"{profile.at('dns', 'fake_ip')}: {error}") from None
    return FakeIP(section.pool4, section.pool6, section.names, file)


def _groups(section: DNSSection) -> dict[str, Group]:
    groups: dict[str, Group] = {}
    if section.domestic:
        # The table of the original is about every resolver's answer, so all are asked at once.
        race = section.race or section.chinadns.table == "original"
        groups[DOMESTIC] = Group(_parse(section.domestic), race, DIRECT)
        groups[FOREIGN] = Group(_parse(section.foreign), race, TUNNEL, section.chinadns.mutation)
    else:
        groups[SERVERS] = Group(_parse(section.servers or DEFAULT_SERVERS), section.race, TUNNEL)
    if section.bootstrap:
        groups[BOOTSTRAP] = Group(_parse(section.bootstrap), section.race, DIRECT)
    return groups


def _parse(resolvers: tuple[str, ...]) -> tuple[Upstream, ...]:
    return tuple(map(parse_upstream, resolvers))


def _selector(profile: Profile) -> tuple[Selector, _Hides]:
    section = profile.dns
    if not section.domestic:
        return OneGroup(SERVERS), _Hides(section.hide_aaaa)
    options = section.chinadns
    inside = _but(_country(profile, options), CIDRSet(options.distrusted))
    blacklist = _networks(profile, options.blacklist).__contains__ if options.blacklist else None
    if options.table == "original":
        original = ChinaDNS(inside, blacklist, options.bidirectional, options.mutation, options.delay)
        return original, _Hides(section.hide_aaaa)
    refined = ChinaDNSNG(
        inside,
        _names(profile, options.domestic_names).__contains__ if options.domestic_names else None,
        _foreign(profile, options),
        blacklist,
        options.accept_empty,
        frozenset(options.no_aaaa),
    )
    return refined, _Hides(section.hide_aaaa, refined)


def _but(inside: AddressTest, distrusted: CIDRSet) -> AddressTest:
    """The addresses of a country that may be believed to be in it."""
    return (lambda address: inside(address) and address not in distrusted) if distrusted else inside


def _foreign(profile: Profile, options: ChinaDNSSection) -> NameTest | None:
    """The names that only foreign resolvers are asked for; None for none."""
    listed = _names(profile, options.foreign_names) if options.foreign_names else DomainSet()
    own = NamePatterns(options.foreign_domains)
    if not listed and not own:
        return None
    return lambda name: name in listed or name in own


class _Hides:
    """Which records no name has."""

    def __init__(self, all_aaaa: bool, refined: ChinaDNSNG | None = None) -> None:
        self._all_aaaa = all_aaaa
        self._refined = refined

    def __call__(self, name: str, kind: int) -> bool:
        if kind != AAAA:
            return False
        return self._all_aaaa or (self._refined is not None and self._refined.hides(name, kind))


def _stays(section: DNSSection, routed: tuple[NameTest, ...]) -> Callable[[str, int], bool]:
    """Names that no resolver is asked for, but for those with resolvers of their own and those that the user names."""
    asked = DomainSet(suffixes=map(normalise, section.ask_anyway))

    def stays(name: str, kind: int) -> bool:
        return stays_here(name, kind) and name not in asked and not any(test(name) for test in routed)

    return stays


def _must_be_real(profile: Profile, sets: Sets, routed: tuple[NameTest, ...]) -> NameTest:
    fake_ip = profile.dns.fake_ip
    own = _test(profile, fake_ip.real if fake_ip is not None else (), sets)
    if fake_ip is not None and fake_ip.only:
        only = _test(profile, fake_ip.only, sets)
        return lambda name: not only(name) or own(name)
    # Names with resolvers of their own are names of another network: the server does not know them.
    return lambda name: is_real_by_nature(name) or own(name) or any(test(name) for test in routed)


def _test(profile: Profile, patterns: tuple[str, ...], sets: Sets) -> NameTest:
    """Whether a name is one of a list of patterns and rule sets. Raises LocalError."""
    names = NamePatterns(each for each in patterns if not each.startswith(RULE_SET))
    found = [each.removeprefix(RULE_SET) for each in patterns if each.startswith(RULE_SET)]
    for name in found:
        if name not in sets:
            raise LocalError(f"{profile.at('dns')}: dns: there is no rule set {name!r}")
    if not found:
        return names.__contains__
    tests = [sets[name].is_about for name in found]
    return lambda name: name in names or any(test(name) for test in tests)


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
    return Path(profile.file).parent / Path(text).expanduser()
