"""Makes a profile of a Clash (mihomo) configuration.

Rules: what has no meaning here (listening ports, the dashboard) is passed over; everything else that is not understood
is told with its line, and left out only if the caller says so. Nothing is guessed: a proxy with an option that we do
not have would be another server.

Read first: https://wiki.metacubex.one/en/config/, https://clash.wiki/configuration/configuration-reference.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tunflow.errors import LocalError
from tunflow.profiles.imports import clash_dns
from tunflow.profiles.imports.subscription import Skipped
from tunflow.profiles.imports.yaml_lines import YAMLDocument
from tunflow.profiles.profile import Profile
from tunflow.profiles.toml_lines import Key
from tunflow.protocols.link import parse_server
from tunflow.rules.cidr import CIDRSet
from tunflow.rules.conditions import RuleSet
from tunflow.rules.domains import DomainSet
from tunflow.rules.groups import KINDS
from tunflow.rules.rule_set import BEHAVIORS
from tunflow.rules.syntax import Context, Line, parse_rule
from tunflow.rules.targets import BUILT_IN

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
_PROXY_KEYS = {
    "ss": frozenset({"cipher", "password"}),
    "socks5": frozenset({"username", "password"}),
    "http": frozenset({"username", "password", "tls"}),
    "direct": frozenset(),
    "reject": frozenset(),
}
_COMMON_KEYS = frozenset({"name", "type", "server", "port", "udp", "tfo", "mptcp", "ip-version"})
_TRUE = {"true", "yes", "on"}


def parse_clash(text: str, file: str, name: str) -> tuple[Profile, list[Skipped]]:
    """The profile that a Clash YAML makes, and what of it is not in it. Raises LocalError."""
    document = YAMLDocument(text, file)
    if not isinstance(document.data, dict) or not {"proxies", "rules", "proxy-groups"} & document.data.keys():
        raise LocalError(f"{file}: not a Clash configuration: it has neither proxies nor rules")
    made = _Clash(document)
    made.read()
    profile = Profile.parse({"name": name, **made.data}, file, made.lines)
    profile._file, profile._lines = file, made.lines
    return profile, made.skipped


class _Clash:
    """One configuration on its way; `data` and `lines` are a profile's as TOML has it."""

    def __init__(self, document: YAMLDocument) -> None:
        self._document = document
        self.data: dict[str, Any] = {}
        self.lines: dict[Key, int] = {}
        self.skipped: list[Skipped] = []

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
                self._skip(f"{key} is not supported", key)
        for key, read in sections.items():
            if data.get(key) is not None:
                read(data[key])

    def _skip(self, why: str, *key: str | int) -> None:
        self.skipped.append(Skipped(self._document.at(*key), " ".join(why.split())[:300]))

    def _place(self, ours: Key, *theirs: str | int) -> None:
        """A key of the profile stands where one of the document does."""
        line = self._document.lines.get(theirs)
        if line is not None:
            self.lines[ours] = line

    def _items(self, section: str, items: Any) -> Iterator[tuple[int, dict[str, Any]]]:
        """The entries of a list of mappings with names."""
        if not isinstance(items, list):
            raise LocalError(f"{self._document.at(section)}: {section} must be a list")
        for number, item in enumerate(items):
            if not isinstance(item, dict) or not isinstance(item.get("name"), str) or "," in item["name"]:
                self._skip(f"an entry of {section} is a mapping with a name that has no comma", section, number)
            else:
                yield number, item

    def _mode(self, mode: Any) -> None:
        if str(mode).lower() != "rule":
            self._skip(f"mode {mode}: only the mode rule is supported", "mode")

    def _proxies(self, proxies: Any) -> None:
        servers = self.data["servers"] = {}
        for number, proxy in self._items("proxies", proxies):
            name = proxy["name"]
            try:
                if name in BUILT_IN or name in servers:
                    raise LocalError("the name is taken")
                link = link_of(proxy)
                parse_server(link)
            except LocalError as error:
                self._skip(f"proxy {name!r}: {error}", "proxies", number)
                continue
            servers[name] = {"url": link}
            self._place(("servers", name), "proxies", number)

    def _groups(self, groups: Any) -> None:
        servers = self.data.setdefault("servers", {})
        made: dict[str, Any] = {}
        self.data["groups"] = made
        given = dict(self._items("proxy-groups", groups))
        known = {*servers, *BUILT_IN, *(group["name"] for group in given.values())}
        for number, group in given.items():
            name, kind = group["name"], group.get("type")
            members = group.get("proxies")
            members = [str(member) for member in members] if isinstance(members, list) else []
            usable = [member for member in members if member in known]
            if missing := [member for member in members if member not in known]:
                self._skip(f"group {name!r}: without {', '.join(missing)}", "proxy-groups", number)
            if unknown := sorted(group.keys() - _GROUP_KEYS - _IGNORED_GROUP_KEYS):
                self._skip(f"group {name!r}: {', '.join(unknown)} is not supported", "proxy-groups", number)
            if name in servers or name in BUILT_IN:
                self._skip(f"group {name!r}: the name is taken", "proxy-groups", number)
            elif not usable:
                self._skip(f"group {name!r} has no member that can be used", "proxy-groups", number)
            elif kind == "relay" and all(member in servers and "url" in servers[member] for member in usable):
                servers[name] = {"chain": [servers[member]["url"] for member in usable]}
                self._place(("servers", name), "proxy-groups", number)
            elif kind in KINDS:
                made[name] = {"type": kind, "servers": usable}
                if group.get("url"):
                    made[name]["url"] = group["url"]
                if str(group.get("interval", "")).isdecimal() and int(group["interval"]):
                    made[name]["interval"] = float(min(86400, max(5, int(group["interval"]))))
                self._place(("groups", name), "proxy-groups", number)
            else:
                self._skip(f"group {name!r}: type {kind!r} is not supported", "proxy-groups", number)
        self._drop_empty_groups(made)

    def _drop_empty_groups(self, groups: dict[str, Any]) -> None:
        """A group that was left out is no member of others; those that have none left go too."""
        while True:
            known = {*groups, *self.data["servers"], *BUILT_IN}
            for group in groups.values():
                group["servers"] = [member for member in group["servers"] if member in known]
            empty = [name for name, group in groups.items() if not group["servers"]]
            if not empty:
                return
            for name in empty:
                self.skipped.append(Skipped(f"group {name!r}", "has no member that can be used"))
                del groups[name]

    def _rule_sets(self, providers: Any) -> None:
        if not isinstance(providers, dict):
            raise LocalError(f"{self._document.at('rule-providers')}: rule-providers must be a mapping")
        sets: dict[str, Any] = {}
        for name, provider in providers.items():
            key = ("rule-providers", name)
            kind = str(provider.get("type")) if isinstance(provider, dict) else None
            if kind not in {"http", "file"} or provider.get("behavior") not in BEHAVIORS:
                self._skip(f"rule set {name!r}: only type http or file, behavior {' or '.join(BEHAVIORS)}", *key)
            elif str(provider.get("format", "yaml")) not in {"yaml", "text"}:
                self._skip(f"rule set {name!r}: format {provider['format']} is not supported", *key)
            elif not isinstance(provider.get("url" if kind == "http" else "path"), str):
                self._skip(f"rule set {name!r}: {'url' if kind == 'http' else 'path'} is missing", *key)
            else:
                sets[name] = {"behavior": provider["behavior"]}
                if kind == "http":
                    sets[name]["url"] = provider["url"]
                else:
                    sets[name]["file"] = str(Path(self._document.file).parent.absolute() / provider["path"])
                self._place(("rule_sets", name), *key)
        self.data["rule_sets"] = sets

    def _rules(self, rules: Any) -> None:
        if not isinstance(rules, list):
            raise LocalError(f"{self._document.at('rules')}: rules must be a list")
        anything = RuleSet(DomainSet(), CIDRSet())
        context = Context(dict.fromkeys(self.data.get("rule_sets", {}), anything), lambda _: CIDRSet())
        targets = {*self.data.get("servers", {}), *self.data.get("groups", {}), *BUILT_IN}
        made: list[str] = []
        for number, text in enumerate(rules):
            line = Line(str(text), self._document.file, self._document.lines["rules", number])
            try:
                rule = parse_rule(line, context)
                if rule.target not in targets:
                    raise line.error(f"there is no server or group {rule.target!r}")
            except LocalError as error:
                place, _, why = str(error).partition(": ")
                self.skipped.append(Skipped(place, why))
                continue
            self._place(("rules", len(made)), "rules", number)
            made.append(str(text))
        if not made or made[-1].partition(",")[0].strip().upper() not in {"MATCH", "FINAL"}:
            made.append("MATCH,DIRECT")  # what Clash does with a flow that no rule is about
        self.data["rules"] = made

    def _dns(self, dns: Any) -> None:
        if not isinstance(dns, dict):
            raise LocalError(f"{self._document.at('dns')}: dns must be a mapping")
        made = clash_dns.section(dns, lambda why, *key: self._skip(why, "dns", *key))
        if made:
            self.data["dns"] = made
            self._place(("dns",), "dns")

    def _hosts(self, hosts: Any) -> None:
        made = clash_dns.hosts(hosts, lambda why, *key: self._skip(why, "hosts", *key))
        if made:
            self.data.setdefault("dns", {})["hosts"] = made


def link_of(proxy: dict[str, Any]) -> str:
    """The link of one entry of `proxies`. Raises LocalError for what we do not have."""
    if odd := [key for key, value in proxy.items() if not isinstance(value, str | None)]:
        raise LocalError(f"{', '.join(odd)} is not supported")
    kind = proxy.get("type")
    if kind not in _PROXY_KEYS:
        raise LocalError(f"type {kind} is not supported; {', '.join(_PROXY_KEYS)} are")
    if kind in {"direct", "reject"}:
        return "direct://" if kind == "direct" else "block://"
    unknown = [
        key
        for key, value in proxy.items()
        if key not in _COMMON_KEYS | _PROXY_KEYS[kind] and str(value).lower() not in {"false", "none", ""}
    ]
    if unknown:
        raise LocalError(f"{', '.join(unknown)} is not supported for {kind}")
    server, port = proxy.get("server"), proxy.get("port")
    if not isinstance(server, str) or not isinstance(port, str):
        raise LocalError("server and port are missing")
    where = f"[{server}]:{port}" if ":" in server else f"{quote(server, safe='')}:{port}"
    tag = f"#{quote(str(proxy['name']), safe='')}"
    if kind == "ss":
        if not proxy.get("cipher") or not proxy.get("password"):
            raise LocalError("cipher and password are missing")
        return f"ss://{quote(proxy['cipher'], safe='')}:{quote(proxy['password'], safe='')}@{where}{tag}"
    scheme = "https" if kind == "http" and str(proxy.get("tls", "")).lower() in _TRUE else kind
    user = proxy.get("username")
    sign_in = f"{quote(user, safe='')}:{quote(proxy.get('password') or '', safe='')}@" if user else ""
    return f"{scheme}://{sign_in}{where}{tag}"
