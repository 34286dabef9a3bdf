"""Makes a profile of a Clash (mihomo) configuration.

Rules: every key has its line in a table (`keys/clash.txt`): it is done, it is told and changes nothing that anybody
would be hurt by, or it is refused, and then the import takes `--partial`. Nothing is guessed: a proxy with an option
that we do not have would be another server. What is lost is refused and never goes direct (`draft`).

Read first: https://wiki.metacubex.one/en/config/, https://clash.wiki/configuration/configuration-reference.html
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tunflow.addresses import ip_network
from tunflow.errors import LocalError
from tunflow.numbers import NotANumber, whole_number
from tunflow.profiles.imports import keys
from tunflow.profiles.imports.clash_dns import ClashDNS, hosts
from tunflow.profiles.imports.clash_groups import ClashGroups
from tunflow.profiles.imports.clash_providers import ClashProviders
from tunflow.profiles.imports.clash_proxies import ClashProxies
from tunflow.profiles.imports.clash_rules import ClashRules
from tunflow.profiles.imports.clash_source import ClashSource, Fetch, is_true, texts
from tunflow.profiles.imports.dashboard import api_section
from tunflow.profiles.imports.draft import Draft, DraftRule
from tunflow.profiles.imports.yaml_lines import YAMLDocument

NEEDED = {"proxies", "rules", "proxy-groups", "proxy-providers"}
ALL = "servers"
"""The group that a file of proxies only gets."""


def read_clash(text: str, file: str, fetch: Fetch | None = None) -> Draft:
    """What a Clash YAML says; `fetch` gets the servers of providers. Raises LocalError for what is no such file."""
    document = YAMLDocument(text, file)
    if not isinstance(document.data, dict) or not any(document.data.get(key) for key in NEEDED):
        raise LocalError(f"{file}: not a Clash configuration: it has neither proxies nor rules")
    made = _Clash(ClashSource(document, fetch), document.data)
    made.read()
    return made.source.draft


class _Clash:
    """The sections of one configuration, in the order in which they refer to each other."""

    def __init__(self, source: ClashSource, data: dict[str, Any]) -> None:
        self.source = source
        self._data = data
        self._known = keys.fates("clash", "top level")

    def read(self) -> None:
        """All of them; keys that nobody has a meaning for come last."""
        self._servers()
        rules = ClashRules(self.source)
        readers: dict[str, Callable[[Any], None]] = {
            "mode": self._mode,
            "rule-providers": lambda given: rules.read_sets(self.source.mapping("rule-providers", given)),
            "sub-rules": lambda given: rules.read_sub_rules(self.source.mapping("sub-rules", given)),
            "rules": rules.read,
            "dns": self._dns,
            "hosts": self._hosts,
            "ipv6": self._ipv6,
            "external-controller": self._api,
            "tun": self._tun,
            "sniffer": lambda given: self.source.tell_keys("sniffer", _table(given), "sniffer.", "sniffer"),
        }
        for key, read in readers.items():
            if self._data.get(key) is not None:
                read(self._data[key])
        if "rules" not in self._data and "proxy-groups" not in self._data:
            self._one_group()
        self.source.tell_keys("top level", {key: self._data[key] for key in self._data if key in self._known}, "")
        for key in self._data:
            if key not in self._known:
                self.source.tell(f"{key} is not a key of Clash: it is passed over", key, is_lost=False)

    def _servers(self) -> None:
        proxies = ClashProxies(self.source.draft)
        providers = ClashProviders(self.source, proxies)
        if self._data.get("proxies") is not None:
            entries = self.source.items("proxies", self._data["proxies"])
            place = "proxies"
            proxies.read((each, self.source.at(place, n), self.source.line(place, n)) for n, each in entries)
        if self._data.get("proxy-providers") is not None:
            providers.read(self.source.mapping("proxy-providers", self._data["proxy-providers"]))
        proxies.finish()
        providers.finish()
        if self._data.get("proxy-groups") is not None:
            ClashGroups(self.source, proxies, providers).read(self._data["proxy-groups"])

    def _one_group(self) -> None:
        """A file of proxies only is a list of servers to choose from."""
        draft = self.source.draft
        if not draft.servers:
            return
        name = ALL
        while name in draft.servers:
            name += "-all"
        draft.group(name, {"type": "select", "servers": list(draft.servers)}, draft.file)
        draft.rules.append(DraftRule(f"MATCH,{name}", draft.file))

    def _mode(self, mode: Any) -> None:
        if str(mode).lower() != "rule":
            self.source.tell(f"mode {mode}: only the mode rule is supported", "mode")

    def _dns(self, given: Any) -> None:
        dns = ClashDNS(self.source, self.source.mapping("dns", given))
        dns.read()
        self.source.draft.dns |= dns.section
        if dns.section and (line := self.source.line("dns")) is not None:
            self.source.draft.lines["dns",] = line

    def _hosts(self, given: Any) -> None:
        if str(_table(self._data.get("dns")).get("use-hosts", "true")).lower() == "false":
            self.source.tell("hosts: dns.use-hosts is false, so they are not used", "hosts", is_lost=False)
        elif made := hosts(self.source, self.source.mapping("hosts", given)):
            self.source.draft.dns["hosts"] = made

    def _api(self, given: Any) -> None:
        """Clash's own API, where nobody else than this machine could use it, and we could serve it."""
        try:
            self.source.draft.more["api"] = api_section(given, self._data.get("secret"))
        except LocalError as error:
            self.source.tell(f"external-controller {error}", "external-controller", is_lost=False)

    def _ipv6(self, given: Any) -> None:
        if str(given).lower() == "false":
            self.source.draft.dns["hide_aaaa"] = True

    def _tun(self, given: Any) -> None:
        tun = _table(given)
        self.source.tell_keys("tun", tun, "tun.", "tun")
        if not is_true(tun.get("enable")):
            return
        made: dict[str, Any] = {}
        for ours, theirs in (("included_routes", "route-address"), ("excluded_routes", "route-exclude-address")):
            found = []
            for key in (theirs, f"inet4-{theirs}", f"inet6-{theirs}"):
                for number, text in enumerate(texts(tun.get(key))):
                    try:
                        found.append(str(ip_network(text, strict=False)))
                    except ValueError:
                        self.source.tell(f"tun.{key}: {text} is not a network", "tun", key, number)
            if found:
                made[ours] = found
        with suppress(NotANumber):
            if (mtu := whole_number(str(tun.get("mtu") or ""), 65_535)) >= 1280:
                made["mtu"] = mtu
        if made:
            self.source.draft.more["tunnel"] = made


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
