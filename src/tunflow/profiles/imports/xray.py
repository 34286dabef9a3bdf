"""Makes a profile of an Xray (V2Ray) configuration: outbounds, balancers, routing, names.

Rules are those of `clash`: each key is in a table (`keys/xray.txt`), what is not understood is told with its place, and
what is lost is refused.

Read first: https://xtls.github.io/en/config/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunflow.errors import LocalError
from tunflow.profiles.imports import keys
from tunflow.profiles.imports.clash_proxies import ClashProxies
from tunflow.profiles.imports.clash_rules import GEOSITE
from tunflow.profiles.imports.draft import Draft, DraftRule
from tunflow.profiles.imports.draft_rules import DraftRules
from tunflow.profiles.imports.foreign_kinds import XRAY
from tunflow.profiles.imports.outbounds import of_xray
from tunflow.profiles.imports.seconds import seconds_of
from tunflow.profiles.imports.sing_box_rules import rule_text
from tunflow.profiles.imports.xray_dns import XrayDNS
from tunflow.profiles.imports.xray_rules import FORMAT, XrayConditions
from tunflow.rules.headless_rules import listed
from tunflow.rules.targets import DIRECT, REJECT

_WITHOUT = {"freedom": DIRECT, "blackhole": REJECT}
_KINDS = {"random": "load-balance", "roundrobin": "load-balance", "leastping": "url-test", "leastload": "url-test"}
_MORE = ("routing", "dns", "fakedns", "fakeDns", "observatory", "burstObservatory", "reverse", "transport", "inbounds")


def is_whole_xray(data: Any) -> bool:
    """Return True if a JSON value is a configuration of Xray that says more than a list of servers."""
    if not isinstance(data, dict) or not isinstance(data.get("outbounds"), list):
        return False
    has_protocols = any(isinstance(each, dict) and "protocol" in each for each in data["outbounds"])
    return has_protocols and any(data.get(key) for key in _MORE)


def read_xray(data: Mapping[str, Any], file: str) -> Draft:
    """What a configuration says. Raises LocalError."""
    made = _Xray(data, file)
    made.read()
    return made.draft


class _Xray:
    """One configuration."""

    def __init__(self, data: Mapping[str, Any], file: str) -> None:
        self.draft = Draft(file)
        self._data = data
        self._routing = _table(data.get("routing"))
        self._targets: dict[str, str] = {}
        """What outbounds without a server are to us, by their tags."""
        self._queries: set[str] = set()
        """Outbounds that answer queries."""

    def read(self) -> None:
        """All of it."""
        for place, kind in XRAY.wrong(self._data):
            self.draft.tell(place, f"it is not {kind}")
        tags = self._outbounds()
        for number, balancer in enumerate(listed(self._routing.get("balancers"))):
            self._balancer(balancer, f"routing.balancers[{number}]")
        conditions = XrayConditions(self.draft, self._data)
        passes = conditions.passes()
        for is_second in passes:
            for number, rule in enumerate(listed(self._routing.get("rules"))):
                self._take(rule, f"routing.rules[{number}]", conditions, is_second=is_second)
        if tags:
            self.draft.rules.append(DraftRule(f"MATCH,{self._targets.get(tags[0], tags[0])}", "outbounds[0]"))
        dns = XrayDNS(self.draft, _table(self._data.get("dns")), self._data.get("fakedns") or self._data.get("fakeDns"))
        dns.read()
        self.draft.dns |= dns.section
        self._tell("top level", self._data, "")
        self._tell("routing", self._routing, "routing.")
        lines = [rule.text for rule in self.draft.rules]
        lines += [line for section in self.draft.rule_sets.values() for line in section.get("lines", ())]
        if any("GEOSITE," in line for line in lines) or dns.wants_topics:
            self.draft.more["geosite"] = GEOSITE

    def _tell(self, section: str, values: Mapping[str, Any], label: str) -> None:
        """Say of each key of a table what the table of keys says."""
        known = keys.fates(FORMAT, section)
        for key, words, is_refused in keys.unspoken(FORMAT, section, values):
            self.draft.tell(f"{label}{key}", words, is_lost=is_refused and key in known)

    def _outbounds(self) -> list[str]:
        """The tags of all outbounds, their servers taken."""
        proxies, tags = ClashProxies(self.draft), []
        for number, outbound in enumerate(self._data["outbounds"]):
            place = f"outbounds[{number}]"
            if not isinstance(outbound, dict):
                self.draft.tell(place, "an outbound is a table with a protocol")
                continue
            tag, kind = str(outbound.get("tag") or place), str(outbound.get("protocol"))
            tags.append(tag)
            if kind == "dns":
                self._queries.add(tag)
            elif kind in _WITHOUT:
                self._targets[tag] = _WITHOUT[kind]
                self._tell(
                    "outbound", _table(outbound.get("settings")) if kind == "freedom" else {}, f"{place}.settings."
                )
            else:
                self._server(outbound, tag, place, proxies)
        proxies.finish()
        return tags

    def _server(self, outbound: dict[str, Any], tag: str, place: str, proxies: ClashProxies) -> None:
        stream = _table(outbound.get("streamSettings"))
        sockopt = _table(stream.get("sockopt"))
        before = sockopt.get("dialerProxy") or _table(outbound.get("proxySettings")).get("tag")
        bare = {key: value for key, value in outbound.items() if key not in {"proxySettings", "streamSettings"}}
        if stream:
            options = {key: value for key, value in sockopt.items() if key != "dialerProxy"}
            bare["streamSettings"] = {**stream, "sockopt": options}
        try:
            entry = {**of_xray(bare), "name": tag}
        except LocalError as error:
            self.draft.lose(tag, place, f"outbound {tag!r}: {error}")
            return
        proxies.take({**entry, "dialer-proxy": str(before)} if before else entry, place, None)

    def _balancer(self, balancer: Any, place: str) -> None:
        """A balancer is a group of the servers whose tags begin with its selectors."""
        if not isinstance(balancer, dict) or not isinstance(balancer.get("tag"), str):
            self.draft.tell(place, "a balancer is a table with a tag")
            return
        tag = balancer["tag"]
        self._tell("balancer", balancer, f"{place}.")
        strategy = str(_table(balancer.get("strategy")).get("type") or "random").lower()
        starts = tuple(map(str, listed(balancer.get("selector"))))
        tags = [str(each.get("tag")) for each in self._data["outbounds"] if isinstance(each, dict) and each.get("tag")]
        members = [self._targets.get(each, each) for each in tags if each.startswith(starts)]
        try:
            if strategy not in _KINDS:
                raise LocalError(f"strategy {strategy[:20]} is not known; {', '.join(_KINDS)} are")
            made: dict[str, Any] = {"type": _KINDS[strategy], "servers": members, **self._checks()}
            if made["type"] == "load-balance":
                made["strategy"] = "round-robin"
            self.draft.group(tag, made, place)
        except LocalError as error:
            self.draft.lose(tag, place, f"balancer {tag!r}: {error}")

    def _checks(self) -> dict[str, Any]:
        """How groups ask their servers."""
        plain = _table(self._data.get("observatory"))
        burst = _table(_table(self._data.get("burstObservatory")).get("pingConfig"))
        found: dict[str, Any] = {}
        if url := plain.get("probeURL") or plain.get("probeUrl") or burst.get("destination"):
            found["url"] = url
        if seconds := seconds_of(plain.get("probeInterval") or burst.get("interval")):
            found["interval"] = float(min(86400, max(5, seconds)))
        return found

    def _take(self, rule: Any, place: str, conditions: XrayConditions, *, is_second: bool) -> None:
        target = ""
        try:
            if not isinstance(rule, dict):
                raise LocalError("a rule is a table")
            tag = rule.get("outboundTag") or rule.get("balancerTag")
            if not isinstance(tag, str) or not tag:
                raise LocalError("a rule has an outboundTag or a balancerTag")
            target = self._targets.get(tag, tag)
            condition = conditions.of(rule, place, is_second=is_second)
            if not is_second:
                self._tell("rule", {key: rule[key] for key in ("webhook",) if key in rule}, f"{place}.")
            if condition is None:
                if not is_second:
                    self.draft.tell(place, "no flow here is of its port, user or system: it never holds", is_lost=False)
            elif tag in self._queries:
                if not is_second:
                    self.draft.tell(place, "queries are answered here", is_lost=False)
            elif condition:
                DraftRules(self.draft).take(rule_text(condition, target), place)
        except (LocalError, ValueError) as error:
            if not is_second:
                DraftRules(self.draft).lose(f"MATCH,{target or REJECT}", place, None, error)


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
