"""sing-box's `dns` as a profile's `[dns]`, in its newer and its older form.

A rule about names and a resolver is a route of `[dns]`, one about the server `fakeip` says who gets fake addresses, one
that refuses is a rule that refuses the flows. The system's own resolvers are never asked: they would see every name.

Read first: https://sing-box.sagernet.org/configuration/dns/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tunflow.addresses import ip_address, ip_network
from tunflow.dns.upstream import parse_upstream
from tunflow.errors import LocalError
from tunflow.profiles.imports import keys
from tunflow.profiles.imports.draft import Draft, DraftRule
from tunflow.profiles.imports.draft_rules import DraftRules
from tunflow.profiles.imports.sing_box_rules import ALWAYS, FORMAT, NEVER, SingBoxConditions, name_lines
from tunflow.profiles.sections.dns import check_names
from tunflow.rules.headless_rules import listed
from tunflow.rules.targets import DIRECT

_RESOLVERS = {"udp": "udp", "tcp": "tcp", "tls": "tls", "https": "https", "quic": "quic", "h3": "https"}
_SYSTEM = {"local", "dhcp", "resolved", "mdns", "tailscale"}
_NAME_KEYS = ("domain", "domain_suffix", "domain_keyword", "domain_regex", "geosite", "rule_set")
_OTHER_KEYS = frozenset({
    *_NAME_KEYS, "query_type", "server", "action", "outbound", "inbound", "clash_mode", "auth_user", "package_name",
    "strategy", "disable_cache", "rewrite_ttl", "client_subnet", "rule_set_ip_cidr_accept_empty", "rcode", "method",
    "no_drop", "type", "ip_accept_any", "invert",
})  # fmt: skip
_ADDRESSES = {"A", "AAAA", "1", "28"}
_REFUSING = {"reject", "predefined"}


class _Server(NamedTuple):
    """A resolver of the configuration."""

    kind: str
    """`resolver`, `system`, `fakeip`, `hosts`, `refused` or `lost`."""
    link: str = ""
    """As we write a resolver; why it is lost."""


class SingBoxDNS:
    """`dns` of one configuration; `section` becomes the profile's."""

    def __init__(
        self,
        draft: Draft,
        dns: Mapping[str, Any],
        conditions: SingBoxConditions,
        target: Callable[[str], str],
    ) -> None:
        """`target` gives what an outbound is called here."""
        self._draft = draft
        self._dns = dns
        self._conditions = conditions
        self._target = target
        self._servers: dict[str, _Server] = {}
        self._refusals = 0
        self._ranges: dict[str, Any] = {}
        self._faked: list[str] | None = None
        """The names with fake addresses: none for every name, None for nobody."""
        self._kept: list[str] = []
        """The names that rules before gave to resolvers."""
        self.section: dict[str, Any] = {}

    def read(self) -> None:
        """All of it."""
        if not self._dns:
            return
        self._tell_keys("dns", self._dns, "dns.")
        for number, server in enumerate(listed(self._dns.get("servers"))):
            self._server(server, f"dns.servers[{number}]")
        for number, rule in enumerate(listed(self._dns.get("rules"))):
            place = f"dns.rules[{number}]"
            try:
                self._rule(rule, place)
            except LocalError as error:
                self._draft.tell(place, str(error))
        self._final()
        strategy = str(self._dns.get("strategy") or "")
        if strategy == "ipv4_only":
            self.section["hide_aaaa"] = True
        elif strategy == "ipv6_only":
            self._draft.tell("dns.strategy", "ipv6_only is not supported: names keep their IPv4 addresses")
        self._pools("dns.fakeip", self._dns.get("fakeip"))
        if self._faked is not None:
            chosen = {"only": self._faked} if self._faked else {}
            kept = {"real": self._kept} if self._kept else {}
            self.section["fake_ip"] = {**self._ranges, **chosen, **kept}

    def _tell_keys(self, section: str, values: Mapping[str, Any], label: str) -> None:
        known = keys.fates(FORMAT, section)
        for key, words, is_refused in keys.unspoken(FORMAT, section, values):
            self._draft.tell(f"{label}{key}", words, is_lost=is_refused and key in known)

    # Servers.

    def _server(self, server: Any, place: str) -> None:
        """One of `servers`."""
        if isinstance(server, str):
            server = {"tag": server, "address": server}
        if not isinstance(server, dict):
            self._draft.tell(place, "a server is a table with a tag")
            return
        self._tell_keys("dns server", server, f"{place}.")
        tag = str(server.get("tag") or place)
        try:
            self._servers[tag] = self._read(server, place)
        except LocalError as error:
            self._servers[tag] = _Server("lost", str(error))
            self._draft.tell(place, str(error))

    def _read(self, server: Mapping[str, Any], place: str) -> _Server:
        """Raises LocalError for a resolver that we do not have."""
        kind = str(server.get("type") or "legacy")
        if kind == "legacy":
            return self._legacy(server, place)
        if kind in _SYSTEM:
            self._tell_system(place, kind)
            return _Server("system")
        if kind == "fakeip":
            self._pools(place, server)
            return _Server("fakeip")
        if kind == "hosts":
            self._hosts(server, place)
            return _Server("hosts")
        if kind not in _RESOLVERS:
            raise LocalError(f"type {kind} is not supported; {', '.join(_RESOLVERS)}, hosts and fakeip are")
        where = _host(str(server.get("server") or ""))
        if port := server.get("server_port"):
            where += f":{port}"
        tls = server.get("tls") if isinstance(server.get("tls"), dict) else {}
        assert isinstance(tls, dict)
        if tls.get("insecure") is True:
            raise LocalError("tls.insecure is not supported: whoever is on the way could answer")
        name = f"{tls['server_name']}@" if tls.get("server_name") else ""
        path = str(server.get("path") or "/dns-query") if kind in {"https", "h3"} else ""
        return self._resolver(f"{_RESOLVERS[kind]}://{name}{where}{path}", server, place, is_h3=kind == "h3")

    def _legacy(self, server: Mapping[str, Any], place: str) -> _Server:
        """`address` says all. Raises LocalError."""
        address = str(server.get("address") or "")
        if address == "local" or address.startswith("dhcp://"):
            self._tell_system(place, address)
            return _Server("system")
        if address == "fakeip":
            return _Server("fakeip")
        if address.startswith("rcode://"):
            return _Server("refused")
        if not address:
            raise LocalError("address is missing")
        is_h3 = address.startswith("h3://")
        link = f"https://{address[5:]}" if is_h3 else address
        return self._resolver(link, server, place, is_h3=is_h3)

    def _tell_system(self, place: str, kind: str) -> None:
        words = keys.fates(FORMAT, "dns server")["local"].words.partition(": ")[2]
        self._draft.tell(place, f"{kind}: {words}", is_lost=False)

    def _resolver(self, link: str, server: Mapping[str, Any], place: str, *, is_h3: bool) -> _Server:
        """Raises LocalError."""
        if is_h3:
            self._draft.tell(place, "h3: asked by HTTP/2", is_lost=False)
        if isinstance(before := server.get("detour"), str) and before:
            link += f"#{self._via(before)}"
        parse_upstream(link)
        return _Server("resolver", link)

    def _via(self, tag: str) -> str:
        """The server that a resolver is asked through. Raises LocalError for one that was lost."""
        name = self._target(tag)
        if name == DIRECT:
            return "direct"
        if name not in self._draft.servers and name not in self._draft.groups:
            raise LocalError(f"detour: there is no outbound {tag!r} to ask through")
        if name.isdigit() or "." in name:
            raise LocalError(
                f"detour: an outbound called {tag!r} cannot be asked through: it reads as a port or a name"
            )
        return name

    def _hosts(self, server: Mapping[str, Any], place: str) -> None:
        given = server.get("predefined")
        for name, values in given.items() if isinstance(given, dict) else ():
            try:
                addresses = [str(ip_address(str(each))) for each in listed(values)]
            except ValueError:
                self._draft.tell(f"{place}.predefined", f"{name}: must have addresses")
                continue
            self.section.setdefault("hosts", {})[str(name).lower()] = addresses
        if server.get("path"):
            self._draft.tell(f"{place}.path", "/etc/hosts is the system's to read", is_lost=False)

    def _pools(self, place: str, given: Any) -> None:
        """The ranges of fake addresses, which names have only where a rule says so."""
        if not isinstance(given, dict):
            return
        for key, pool in (("inet4_range", "pool4"), ("inet6_range", "pool6")):
            if text := given.get(key):
                try:
                    network = str(ip_network(str(text), strict=False))
                except ValueError:
                    self._draft.tell(f"{place}.{key}", f"{text} is not a network")
                    continue
                self._ranges[pool] = network

    def _final(self) -> None:
        """Who is asked for what no rule is about."""
        tag = str(self._dns.get("final") or next(iter(self._servers), ""))
        server = self._servers.get(tag)
        if server is not None and server.kind == "resolver":
            self.section["servers"] = [server.link]
        elif server is not None and server.kind == "fakeip":
            self._fake([])
        elif server is not None:
            others = [each.link for each in self._servers.values() if each.kind == "resolver"]
            if others:
                self.section["servers"] = others[:1]

    # Rules.

    def _rule(self, rule: Any, place: str) -> None:
        """One of `rules`. Raises LocalError for what has no equal here."""
        if not isinstance(rule, dict):
            raise LocalError("a rule is a table")
        if rule.get("outbound"):
            self._draft.tell(place, keys.fates(FORMAT, "dns rule")["outbound"].words, is_lost=False)
            return
        if not self._conditions.is_switched_on(rule):
            self._draft.tell(place, "no query here is of its inbound, mode or user: it never holds", is_lost=False)
            return
        action = str(rule.get("action") or "route")
        if action == "route-options":
            self._draft.tell(place, "route-options: the cache is tunflow's own", is_lost=False)
            return
        if action not in {"route", *_REFUSING}:
            raise LocalError(f"action {action} is not supported; route, reject and predefined are")
        if rule.get("answer") or rule.get("ns") or rule.get("extra"):
            raise LocalError("predefined answers are not supported: hosts in the profile are")
        kind = "refused" if action in _REFUSING else self._kind_of(rule)
        self._apply(rule, kind, place)
        known = keys.fates(FORMAT, "dns rule")
        for key, words, is_refused in keys.unspoken(FORMAT, "dns rule", rule):
            if key in known and not is_refused:
                self._draft.tell(f"{place}.{key}", words, is_lost=False)

    def _kind_of(self, rule: Mapping[str, Any]) -> str:
        tag = str(rule.get("server") or "")
        if tag not in self._servers:
            raise LocalError(f"there is no server {tag!r}")
        return self._servers[tag].kind

    def _apply(self, rule: Mapping[str, Any], kind: str, place: str) -> None:
        if kind == "hosts" and (rule.get("ip_accept_any") is True or not _conditions_of(rule)):
            return  # hosts go first anyway
        types = {str(each).upper() for each in listed(rule.get("query_type"))}
        names = self._names(rule, place)
        if kind == "fakeip":
            if types and not types & _ADDRESSES:
                raise LocalError("fake addresses stand for A and AAAA records only")
            self._fake(names)
        elif kind == "refused":
            self._refuse(names, types, place)
        elif kind == "system":
            self._keep(names)  # the server was told: these names go to dns.final
        elif kind == "lost":
            raise LocalError(f"server {rule.get('server')!r} was not taken: these names go to dns.final")
        elif types:
            raise LocalError("query_type is not supported with a resolver: it is asked for every type")
        elif not names:
            if kind == "resolver" and "servers" not in self.section:
                self.section["servers"] = [self._servers[str(rule["server"])].link]
            else:
                raise LocalError("it has no names, which rules with a resolver are about")
        else:
            server = self._servers[str(rule["server"])]
            self._keep(names)
            self.section.setdefault("routes", []).append({"domains": names, "servers": [server.link]})

    def _keep(self, names: list[str]) -> None:
        """These names are looked up, and no later rule gives them fake addresses."""
        if self._faked is None:
            self._kept += names

    def _names(self, rule: Mapping[str, Any], place: str) -> list[str]:
        """The patterns of the names that a rule is about; none for every name. Raises LocalError."""
        if rule.get("type") == "logical" or rule.get("invert") is True:
            return self._composed(rule, place)
        if extra := [key for key in _conditions_of(rule) if key not in _OTHER_KEYS]:
            raise LocalError(f"{extra[0]} is not supported: rules for resolvers are about names")
        for tag in map(str, listed(rule.get("rule_set"))):
            if tag not in self._draft.rule_sets:
                raise LocalError(f"there is no rule set {tag!r}")
        if listed(rule.get("domain_keyword")) or listed(rule.get("domain_regex")):
            DraftRules(self._draft).take_list(place, name_lines(rule))
            return [f"rule-set:{place}"]
        names = [
            *(f"full:{each}" for each in map(str, listed(rule.get("domain")))),
            *map(str, listed(rule.get("domain_suffix"))),
            *(f"geosite:{each}" for each in map(str, listed(rule.get("geosite")))),
            *(f"rule-set:{each}" for each in map(str, listed(rule.get("rule_set")))),
        ]
        try:
            for each in names:
                check_names(each)
        except ValueError as error:
            raise LocalError(str(error)) from None
        return names

    def _composed(self, rule: Mapping[str, Any], place: str) -> list[str]:
        """The names of a rule with and, or and invert: those of a list of the profile's own. Raises LocalError."""
        _check_names_only(rule)
        parts = {key: value for key, value in rule.items() if key in {*_NAME_KEYS, "type", "mode", "rules", "invert"}}
        condition = self._conditions.of(parts, place)
        if condition in {ALWAYS, NEVER}:
            raise LocalError("it holds for every name, or for none")
        name = f"{place}.names"
        DraftRules(self._draft).take_list(name, [condition])
        return [f"rule-set:{name}"]

    def _fake(self, names: list[str]) -> None:
        """These names have fake addresses, all others too where there are none."""
        if self._faked is None:
            self._faked = list(names)
        elif self._faked:
            self._faked = [*self._faked, *names] if names else []

    def _refuse(self, names: list[str], types: set[str], place: str) -> None:
        if not names:
            if types == {"AAAA"}:
                self.section["hide_aaaa"] = True
            elif types and not types & _ADDRESSES:
                self._draft.tell(
                    place, "records of these types are asked for: addresses are what flows go by", is_lost=False
                )
            else:
                raise LocalError("it refuses all names")
            return
        for name in names:
            kind, colon, rest = name.partition(":")
            word = {"full": "DOMAIN", "geosite": "GEOSITE", "rule-set": "RULE-SET"}.get(kind) if colon else None
            if word is None:
                word, rest = ("DOMAIN-WILDCARD", f"*{name}") if name.startswith(".") else ("DOMAIN-SUFFIX", name)
            option = ",no-resolve" if word == "RULE-SET" else ""
            self._draft.rules.insert(self._refusals, DraftRule(f"{word},{rest},REJECT{option}", place))
            self._refusals += 1


def _check_names_only(rule: Mapping[str, Any]) -> None:
    """Raise LocalError unless a rule, and those in it, ask for nothing but names."""
    if extra := [key for key in _conditions_of(rule) if key not in _OTHER_KEYS | {"mode", "rules"}]:
        raise LocalError(f"{extra[0]} is not supported: rules for resolvers are about names")
    if rule.get("query_type"):
        raise LocalError("query_type is not supported with and, or and invert")
    for each in listed(rule.get("rules")):
        if not isinstance(each, Mapping):
            raise LocalError("a rule is a table")
        _check_names_only(each)


def _conditions_of(rule: Mapping[str, Any]) -> list[str]:
    """The keys of a rule that are conditions and say something."""
    spoken = [key for key, value in rule.items() if value not in (None, False, [], {}, "")]
    return [key for key in spoken if key not in {"action", "server", "type", "rcode", "method", "no_drop"}]


def _host(text: str) -> str:
    return f"[{text}]" if ":" in text else text
