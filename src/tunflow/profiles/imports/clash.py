"""Makes a profile of a Clash (mihomo) configuration.

Rules: what has no meaning here (listening ports, the dashboard) is passed over; everything else that is not understood
is told with its line, and left out only if the caller says so. Nothing is guessed: a proxy with an option that we do
not have would be another server.

Read first: https://wiki.metacubex.one/en/config/, https://clash.wiki/configuration/configuration-reference.html
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from tunflow.errors import LocalError
from tunflow.numbers import NotANumber, whole_number
from tunflow.profiles.imports import clash_dns
from tunflow.profiles.imports.clash_proxies import link_of
from tunflow.profiles.imports.draft import Draft, DraftRule
from tunflow.profiles.imports.yaml_lines import YAMLDocument
from tunflow.protocols.registry import parse_server
from tunflow.rules.cidr import CIDRSet
from tunflow.rules.conditions import RuleSet
from tunflow.rules.domains import DomainSet
from tunflow.rules.groups import KINDS
from tunflow.rules.rule_set import BEHAVIORS
from tunflow.rules.syntax import Context, Line, cut_rule, parse_rule

_MEANINGLESS = """
port socks-port redir-port tproxy-port mixed-port allow-lan bind-address lan-allowed-ips lan-disallowed-ips
authentication skip-auth-prefixes log-level ipv6 external-controller external-controller-tls external-ui
external-ui-name external-ui-url secret profile unified-delay tcp-concurrent geodata-mode geodata-loader geox-url
geo-auto-update geo-update-interval find-process-mode global-client-fingerprint global-ua keep-alive-interval
keep-alive-idle etag-support tun sniffer experimental listeners tls ntp
"""
MEANINGLESS = frozenset(_MEANINGLESS.split())
"""Where Clash itself listens, draws and logs."""

_GROUP_KEYS = frozenset(
    {"name", "type", "proxies", "url", "interval", "tolerance", "lazy", "strategy", "udp", "hidden"}
)
_IGNORED_GROUP_KEYS = frozenset({"icon", "timeout", "max-failed-times", "expected-status"})


def read_clash(text: str, file: str) -> Draft:
    """What a Clash YAML says. Raises LocalError for what is none."""
    document = YAMLDocument(text, file)
    if not isinstance(document.data, dict) or not {"proxies", "rules", "proxy-groups"} & document.data.keys():
        raise LocalError(f"{file}: not a Clash configuration: it has neither proxies nor rules")
    made = _Clash(document)
    made.read()
    return made.draft


class _Clash:
    """One configuration on its way into a draft."""

    def __init__(self, document: YAMLDocument) -> None:
        self._document = document
        self.draft = Draft(document.file)

    def read(self) -> None:
        """All sections, in the order in which they refer to each other."""
        data = self._document.data
        assert isinstance(data, dict)
        sections: dict[str, Callable[[Any], None]] = {
            "mode": self._mode,
            "proxies": self._proxies,
            "proxy-groups": self._groups,
            "rule-providers": self._rule_sets,
            "rules": self._rules,
            "dns": self._dns,
            "hosts": self._hosts,
        }
        for key in data:
            if key not in sections and key not in MEANINGLESS:
                self._tell(f"{key} is not supported", key)
        for key, read in sections.items():
            if data.get(key) is not None:
                read(data[key])

    def _tell(self, why: str, *key: str | int) -> None:
        self.draft.tell(self._document.at(*key), why)

    def _line(self, *key: str | int) -> int | None:
        return self._document.lines.get(key)

    def _items(self, section: str, items: Any) -> Iterator[tuple[int, dict[str, Any]]]:
        """The entries of a list of mappings with names."""
        if not isinstance(items, list):
            raise LocalError(f"{self._document.at(section)}: {section} must be a list")
        for number, item in enumerate(items):
            if not isinstance(item, dict) or not isinstance(item.get("name"), str) or "," in item["name"]:
                self._tell(f"an entry of {section} is a mapping with a name that has no comma", section, number)
            else:
                yield number, item

    def _mode(self, mode: Any) -> None:
        if str(mode).lower() != "rule":
            self._tell(f"mode {mode}: only the mode rule is supported", "mode")

    def _proxies(self, proxies: Any) -> None:
        for number, proxy in self._items("proxies", proxies):
            name = proxy["name"]
            try:
                self.draft.claim(name)
                link = link_of(proxy)
                parse_server(link)
            except LocalError as error:
                self.draft.lose(name, self._document.at("proxies", number), f"proxy {name!r}: {error}")
                continue
            self.draft.server(name, {"url": link}, self._line("proxies", number))

    def _groups(self, groups: Any) -> None:
        for number, group in self._items("proxy-groups", groups):
            name = group["name"]
            try:
                self._group(number, group)
            except LocalError as error:
                self.draft.lose(name, self._document.at("proxy-groups", number), f"group {name!r}: {error}")

    def _group(self, number: int, group: dict[str, Any]) -> None:
        """One group. Raises LocalError for what we do not have."""
        place, line = self._document.at("proxy-groups", number), self._line("proxy-groups", number)
        name, kind, members = group["name"], group.get("type"), group.get("proxies")
        members = [str(member) for member in members] if isinstance(members, list) else []
        if unknown := sorted(group.keys() - _GROUP_KEYS - _IGNORED_GROUP_KEYS):
            self.draft.tell(place, f"group {name!r}: {', '.join(unknown)} is not supported")
        if kind == "relay":
            self.draft.server(name, {"chain": self._chain(members)}, line)
        elif kind in KINDS:
            made: dict[str, Any] = {"type": kind, "servers": members}
            if group.get("url"):
                made["url"] = group["url"]
            with suppress(NotANumber):
                if seconds := whole_number(str(group.get("interval", "")), sys.maxsize):
                    made["interval"] = float(min(86400, max(5, seconds)))
            self.draft.group(name, made, place, line)
        else:
            raise LocalError(f"type {kind!r} is not supported")

    def _chain(self, members: list[str]) -> list[str]:
        """The links of a chain. Raises LocalError unless all its hops are there."""
        links: list[str] = []
        for member in members:
            section = self.draft.servers.get(member)
            if section is None:
                raise LocalError(f"a chain without its hop {member!r} would be another one: it is left out")
            links += [section["url"]] if "url" in section else section["chain"]
        if not links:
            raise LocalError("a chain has hops")
        return links

    def _rule_sets(self, providers: Any) -> None:
        if not isinstance(providers, dict):
            raise LocalError(f"{self._document.at('rule-providers')}: rule-providers must be a mapping")
        sets = self.draft.rule_sets
        for name, provider in providers.items():
            key = ("rule-providers", name)
            kind = str(provider.get("type")) if isinstance(provider, dict) else None
            if kind not in {"http", "file"} or provider.get("behavior") not in BEHAVIORS:
                self._tell(f"rule set {name!r}: only type http or file, behavior {' or '.join(BEHAVIORS)}", *key)
            elif str(provider.get("format", "yaml")) not in {"yaml", "text"}:
                self._tell(f"rule set {name!r}: format {provider['format']} is not supported", *key)
            elif not isinstance(provider.get("url" if kind == "http" else "path"), str):
                self._tell(f"rule set {name!r}: {'url' if kind == 'http' else 'path'} is missing", *key)
            else:
                sets[name] = {"behavior": provider["behavior"]}
                if kind == "http":
                    sets[name]["url"] = provider["url"]
                else:
                    sets[name]["file"] = str(Path(self._document.file).parent.absolute() / provider["path"])
                if (line := self._line(*key)) is not None:
                    self.draft.lines["rule_sets", name] = line

    def _rules(self, rules: Any) -> None:
        if not isinstance(rules, list):
            raise LocalError(f"{self._document.at('rules')}: rules must be a list")
        anything = RuleSet(DomainSet(), CIDRSet())
        context = Context(dict.fromkeys(self.draft.rule_sets, anything), lambda _: CIDRSet())
        for number, text in enumerate(rules):
            line = Line(str(text), self._document.file, self._document.lines["rules", number])
            try:
                parse_rule(line, context)
            except LocalError as error:
                place, _, why = str(error).partition(": ")
                self.draft.lose_rule(place, why, _target(line.text))
                continue
            self.draft.rules.append(DraftRule(line.text, self._document.at("rules", number), line.number))

    def _dns(self, dns: Any) -> None:
        if not isinstance(dns, dict):
            raise LocalError(f"{self._document.at('dns')}: dns must be a mapping")
        made = clash_dns.section(dns, lambda why, *key: self._tell(why, "dns", *key))
        self.draft.dns |= made
        if made and (line := self._line("dns")) is not None:
            self.draft.lines["dns",] = line

    def _hosts(self, hosts: Any) -> None:
        made = clash_dns.hosts(hosts, lambda why, *key: self._tell(why, "hosts", *key))
        if made:
            self.draft.dns["hosts"] = made


def _target(rule: str) -> str | None:
    """Where a rule sends flows, as far as can be told of one that was not understood."""
    try:
        return cut_rule(rule).target
    except ValueError:
        return None
