"""Clash's `dns` and `hosts` as a profile's `[dns]`."""

from __future__ import annotations

from typing import Any

from tunflow.addresses import ip_address, ip_network
from tunflow.dns.upstream import parse_upstream
from tunflow.errors import LocalError
from tunflow.profiles.imports.clash_rules import geosite_of
from tunflow.profiles.imports.clash_source import ClashSource, is_true, texts
from tunflow.profiles.imports.draft import DraftRule
from tunflow.profiles.sections.dns import check_names
from tunflow.rules.domains import normalise
from tunflow.rules.name_patterns import NamePatterns
from tunflow.rules.syntax import cut_rule
from tunflow.rules.targets import BUILT_IN

_BELIEVED_BY_NOBODY = "240.0.0.0/4"
"""What Clash does not believe a domestic resolver if the configuration says nothing."""
_HARMLESS = {
    "h3": "asked by HTTP/2",
    "ecs": "no client's network is told",
    "ecs-override": "no client's network is told",
}
"""Parameters of a resolver that are told; all others would make it another one."""


class ClashDNS:
    """`dns` of one file; `section` becomes the profile's."""

    def __init__(self, source: ClashSource, dns: dict[str, Any]) -> None:
        self._source = source
        self._dns = dns
        self.section: dict[str, Any] = {}

    def read(self) -> None:
        """All of it; nothing where it is off."""
        if not is_true(self._dns.get("enable", "false")):
            return
        self._source.tell_keys("dns", self._dns, "dns.", "dns")
        self._servers()
        if bootstrap := self._resolvers("default-nameserver"):
            self.section["bootstrap"] = bootstrap
        if self._dns.get("enhanced-mode") == "fake-ip":
            self.section["fake_ip"] = self._fake_ip()
        if str(self._dns.get("ipv6", "true")).lower() == "false":
            self.section["hide_aaaa"] = True
        if routes := self._routes():
            self.section["routes"] = routes

    def _tell(self, why: str, *key: str | int, is_lost: bool = True) -> None:
        self._source.tell(f"dns.{why}", "dns", *key, is_lost=is_lost)

    def _servers(self) -> None:
        servers, fallback = self._resolvers("nameserver"), self._resolvers("fallback")
        if not servers or not fallback:
            if servers or fallback:
                self.section["servers"] = servers or fallback
            return
        given = self._dns.get("fallback-filter")
        filters = given if isinstance(given, dict) else {}
        if isinstance(topics := filters.get("geosite"), list):
            filters = {
                **filters,
                "domain": [*texts(filters.get("domain")), *(f"geosite:{each}" for each in texts(topics))],
            }
        self._source.tell_keys("fallback-filter", filters, "dns.fallback-filter.", "dns", "fallback-filter")
        if str(filters.get("geoip", "true")).lower() == "false":
            self._tell("fallback-filter.geoip: without it only the fallback is asked", "fallback-filter", "geoip")
            self.section["servers"] = fallback
            return
        # Clash asks both and believes `nameserver` when its address is at home: that is ChinaDNS.
        self.section |= {"domestic": servers, "foreign": fallback}
        chinadns: dict[str, Any] = {"country": str(filters.get("geoip-code") or "CN").upper()}
        chinadns["distrusted"] = self._networks(filters) or [_BELIEVED_BY_NOBODY]
        if names := self._names(filters.get("domain"), "fallback-filter", "domain"):
            chinadns["foreign_domains"] = names
        self.section["chinadns"] = chinadns

    def _networks(self, filters: dict[str, Any]) -> list[str]:
        found = []
        for number, text in enumerate(texts(filters.get("ipcidr"))):
            try:
                found.append(str(ip_network(text, strict=False)))
            except ValueError:
                self._tell(f"fallback-filter.ipcidr: {text} is not a network", "fallback-filter", "ipcidr", number)
        return found

    def _resolvers(self, key: str) -> list[str]:
        found = []
        for number, text in enumerate(texts(self._dns.get(key))):
            try:
                found.append(self._resolver(text, key, number))
            except LocalError as error:
                self._tell(f"{key}: {error}", key, number)
        return found

    def _resolver(self, text: str, *key: str | int) -> str:
        """A resolver as we write it. Raises LocalError for one that we do not have."""
        if text in {"system", "system://"} or text.startswith(("dhcp://", "rcode://", "h3://")):
            raise LocalError(f"{text}: resolvers have an address, and are asked over UDP, TCP, TLS, HTTPS or QUIC")
        link, _, parameters = text.partition("#")
        via = ""
        for parameter in parameters.split("&") if parameters else ():
            name, equals, value = parameter.partition("=")
            if not equals:
                via = self._via(name)
            elif value.lower() in {"false", ""}:
                continue
            elif name in _HARMLESS:
                self._tell(f"{key[0]}: {name}: {_HARMLESS[name]}", *key, is_lost=False)
            else:
                raise LocalError(f"{link}: {name} is not supported")
        resolver = f"{link}#{via}" if via else link
        parse_upstream(resolver)
        return resolver

    def _via(self, name: str) -> str:
        """The server that a resolver is asked through. Raises LocalError for one that was lost."""
        if name.upper() == "RULES":
            return ""  # through the tunnel, as all are here
        if name.upper() == "DIRECT":
            return "direct"
        draft = self._source.draft
        if (name not in draft.servers and name not in draft.groups) or name in BUILT_IN:
            raise LocalError(f"there is no server or group {name!r} to ask through")
        if name.isdigit() or "." in name:
            raise LocalError(f"a server called {name!r} cannot be asked through: it reads as a port or a name")
        return name

    def _fake_ip(self) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, pool in (("fake-ip-range", "pool4"), ("fake-ip-range6", "pool6")):
            if text := self._dns.get(key):
                try:
                    made[pool] = str(ip_network(text, strict=False))
                except ValueError:
                    self._tell(f"{key}: {text} is not a network", key)
        mode = str(self._dns.get("fake-ip-filter-mode") or "blacklist").lower()
        if mode == "rule":
            made |= self._fake_ip_rules()
        elif mode in {"blacklist", "whitelist"}:
            if names := self._names(self._dns.get("fake-ip-filter"), "fake-ip-filter"):
                made["real" if mode == "blacklist" else "only"] = names
            elif mode == "whitelist":
                made["only"] = ["invalid"]  # of no name that anybody looks up
        else:
            self._tell(f"fake-ip-filter-mode: {mode} is not supported", "fake-ip-filter-mode")
        return made

    def _fake_ip_rules(self) -> dict[str, Any]:
        """`fake-ip-filter-mode: rule`, where all rules but the last say the same."""
        found: dict[str, list[str]] = {"real-ip": [], "fake-ip": []}
        last = "fake-ip"
        for number, text in enumerate(texts(self._dns.get("fake-ip-filter"))):
            try:
                rule = cut_rule(text)
                if rule.kind in {"MATCH", "FINAL"}:
                    last = rule.target
                    break
                found[rule.target].append(_pattern(rule.kind, rule.value))
            except (ValueError, KeyError):
                self._tell(f"fake-ip-filter: {text} is not supported", "fake-ip-filter", number)
        other = "real-ip" if last == "fake-ip" else "fake-ip"
        if found[last] and found[other]:
            self._tell("fake-ip-filter: fake-ip and real-ip in turns are not supported", "fake-ip-filter")
        names = found[other]
        return {"real" if last == "fake-ip" else "only": names} if names else {}

    def _names(self, given: Any, *key: str) -> list[str]:
        """Patterns of names as we write them: in Clash a plain name is that name alone."""
        found = []
        for number, text in enumerate(texts(given)):
            try:
                pattern = text if "*" in text or text[:1] in {"+", "."} else f"full:{text}"
                if text.startswith(("geosite:", "rule-set:")):
                    pattern = self._list(text)
                check_names(pattern)
                found.append(pattern)
            except (ValueError, LocalError) as error:
                self._tell(f"{key[-1]}: {text}: {error}", *key, number)
        return found

    def _list(self, text: str) -> str:
        """A list that stands for names. Raises LocalError for one that was lost."""
        kind, _, name = text.partition(":")
        if kind == "rule-set" and name not in self._source.draft.rule_sets:
            raise LocalError(f"there is no rule set {name!r}")
        if kind == "geosite":
            self._source.draft.more.setdefault("geosite", geosite_of(self._source))
        return text

    def _policy_names(self, name: str) -> list[str]:
        """The patterns of a key of `nameserver-policy`: several with commas between."""
        kind, colon, rest = name.partition(":")
        given = [f"{kind}:{each.strip()}" for each in rest.split(",")] if colon else name.split(",")
        return self._names([each.strip() for each in given], "nameserver-policy", name)

    def _refuse(self, name: str) -> None:
        """Names that nobody is asked for (`rcode://`): flows to them are refused."""
        for pattern in self._policy_names(name):
            place = self._source.at("dns", "nameserver-policy", name)
            try:
                rule = DraftRule(f"{_rule(pattern)},REJECT", place, self._source.line("dns", "nameserver-policy", name))
            except LocalError as error:
                self._tell(f"nameserver-policy: {error}", "nameserver-policy", name)
            else:
                self._source.draft.rules.insert(0, rule)

    def _routes(self) -> list[dict[str, Any]]:
        made = []
        policy = self._dns.get("nameserver-policy")
        for name, value in policy.items() if isinstance(policy, dict) else ():
            if all(text.startswith("rcode://") for text in texts(value)) and texts(value):
                self._refuse(name)
                continue
            key = ("nameserver-policy", name)
            names = self._policy_names(name)
            servers = []
            for text in texts(value):
                try:
                    servers.append(self._resolver(text, *key))
                except LocalError as error:
                    self._tell(f"nameserver-policy: {name}: {error}", *key)
            if names and servers:
                made.append({"domains": names, "servers": servers})
        return made


def _rule(pattern: str) -> str:
    """A rule about the names of a pattern. Raises LocalError for one that has no such rule."""
    kind, colon, name = pattern.partition(":")
    if colon:
        return f"{ {'full': 'DOMAIN', 'geosite': 'GEOSITE', 'rule-set': 'RULE-SET'}[kind] },{name}"
    if "*" in pattern or pattern.startswith("."):
        raise LocalError(f"{pattern} is not refused: rules are about names, and all below")
    return f"DOMAIN-SUFFIX,{pattern.removeprefix('+.')}"


def _pattern(kind: str, value: str) -> str:
    """A rule's names as a pattern. Raises ValueError for rules that are about something else."""
    if kind == "DOMAIN":
        return f"full:{value}"
    if kind == "DOMAIN-SUFFIX":
        return value.removeprefix("+.").removeprefix(".")
    if kind in {"RULE-SET", "GEOSITE"}:
        return f"{kind.lower()}:{value}"
    raise ValueError


def hosts(source: ClashSource, given: dict[str, Any]) -> dict[str, list[str]]:
    """What `hosts` says: names and patterns of names with their addresses, or with another name."""
    made: dict[str, list[str]] = {}
    for name, value in given.items():
        try:
            NamePatterns([name])
            values = texts(value)
            if not values or (len(values) > 1 and not all(map(_is_address, values))):
                raise ValueError("must have addresses, or one other name")
            made[name.lower()] = [str(ip_address(each)) if _is_address(each) else normalise(each) for each in values]
        except ValueError as error:
            source.tell(f"hosts: {name}: {error}", "hosts", name)
    return made


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
