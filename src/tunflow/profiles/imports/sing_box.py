"""Makes a profile of a sing-box configuration: outbounds, endpoints, groups, routes, names and the tun's networks.

Rules are those of `clash`: each key is in a table (`keys/sing-box.txt`), what is not understood is told with its place,
and what is lost is refused.

Read first: https://sing-box.sagernet.org/configuration/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tunflow.addresses import ip_network
from tunflow.errors import LocalError
from tunflow.numbers import NotANumber, whole_number
from tunflow.profiles.imports import keys
from tunflow.profiles.imports.clash_proxies import ClashProxies
from tunflow.profiles.imports.clash_rules import GEOSITE
from tunflow.profiles.imports.dashboard import api_section
from tunflow.profiles.imports.draft import Draft, DraftRule
from tunflow.profiles.imports.draft_rules import DraftRules
from tunflow.profiles.imports.foreign_kinds import SING_BOX
from tunflow.profiles.imports.outbounds import of_sing_box, of_sing_box_endpoint
from tunflow.profiles.imports.seconds import seconds_of
from tunflow.profiles.imports.sing_box_dns import SingBoxDNS
from tunflow.profiles.imports.sing_box_lists import read_rule_sets
from tunflow.profiles.imports.sing_box_rules import ALWAYS, FORMAT, NEVER, SingBoxConditions, rule_text
from tunflow.rules.headless_rules import listed
from tunflow.rules.targets import DIRECT, REJECT

_GROUPS = {"selector": "select", "urltest": "url-test"}
_WITHOUT = {"direct": DIRECT, "block": REJECT}
_TOLD = {"sniff", "resolve", "route-options", "hijack-dns"}
"""Actions for which nothing is to be done: names are sniffed, looked up and answered anyway."""
_ROUTES = {
    "included_routes": ("route_address", "inet4_route_address", "inet6_route_address"),
    "excluded_routes": ("route_exclude_address", "inet4_route_exclude_address", "inet6_route_exclude_address"),
}


def is_whole(data: Any) -> bool:
    """Return True if a JSON value is a configuration of sing-box that says more than a list of servers."""
    if not isinstance(data, dict) or not isinstance(data.get("outbounds", data.get("endpoints")), list):
        return False
    kinds = {str(each.get("type")) for each in listed(data.get("outbounds")) if isinstance(each, dict)}
    more = any(isinstance(data.get(key), dict) for key in ("route", "dns", "experimental")) or data.get("endpoints")
    return "None" not in kinds and (bool(more) or not kinds.isdisjoint(_GROUPS))


def read_sing_box(data: Mapping[str, Any], file: str) -> Draft:
    """What a configuration says. Raises LocalError."""
    made = _SingBox(data, file)
    made.read()
    return made.draft


class _SingBox:
    """One configuration."""

    def __init__(self, data: Mapping[str, Any], file: str) -> None:
        self.draft = Draft(file)
        self._data = data
        self._route = _table(data.get("route"))
        self._targets: dict[str, str] = {}
        """What outbounds without a server are to us, by their tags."""
        self._conditions = SingBoxConditions(self.draft, data)

    def read(self) -> None:
        """All of it."""
        for place, kind in SING_BOX.wrong(self._data):
            self.draft.tell(place, f"it is not {kind}")
        self._outbounds()
        read_rule_sets(self._route.get("rule_set"), self.draft, Path(self.draft.file).parent.absolute())
        rules = listed(self._route.get("rules"))
        for number, rule in enumerate(rules):
            self._take(rule, f"route.rules[{number}]")
        last = self._route.get("final") or next(iter(self._tags()), "")
        if last:
            self.draft.rules.append(DraftRule(f"MATCH,{self._target(str(last))}", "route.final"))
        self._dns()
        self._inbounds()
        self._experimental()
        self._tell("top level", self._data, "")
        self._tell("route", self._route, "route.")
        if any("GEOSITE," in line for line in self._lines()):
            self.draft.more.setdefault("geosite", GEOSITE)

    def _lines(self) -> Iterator[str]:
        """Every rule, and every line of the lists that the configuration holds itself."""
        yield from (rule.text for rule in self.draft.rules)
        for section in self.draft.rule_sets.values():
            yield from section.get("lines", ())

    def _tell(self, section: str, values: Mapping[str, Any], label: str) -> None:
        """Say of each key of a table what the table of keys says."""
        known = keys.fates(FORMAT, section)
        for key, words, is_refused in keys.unspoken(FORMAT, section, values):
            self.draft.tell(f"{label}{key}", words, is_lost=is_refused and key in known)

    def _take(self, rule: Any, place: str) -> None:
        """One rule of `route`."""
        try:
            text = self._rule(rule, place)
            if text is not None:
                DraftRules(self.draft).take(text, place)
        except (LocalError, ValueError) as error:
            outbound = rule.get("outbound") if isinstance(rule, dict) else None
            target = self._target(outbound) if isinstance(outbound, str) else REJECT
            DraftRules(self.draft).lose(f"MATCH,{target}", place, None, error)

    def _dns(self) -> None:
        dns = SingBoxDNS(self.draft, _table(self._data.get("dns")), self._conditions, self._target)
        dns.read()
        self.draft.dns |= dns.section

    def _inbounds(self) -> None:
        """The tun's networks; ports are told."""
        known = keys.fates(FORMAT, "inbounds")
        for number, inbound in enumerate(listed(self._data.get("inbounds"))):
            if not isinstance(inbound, dict):
                continue
            kind, place = str(inbound.get("type")), f"inbounds[{number}]"
            if kind != "tun":
                self.draft.tell(
                    place, known[kind].words if kind in known else f"type {kind} is not known", is_lost=False
                )
                continue
            self._tell("tun", inbound, f"{place}.")
            made: dict[str, Any] = {}
            with suppress(NotANumber):
                if (mtu := whole_number(str(inbound.get("mtu") or ""), 65_535)) >= 1280:
                    made["mtu"] = mtu
            for ours, theirs in _ROUTES.items():
                if networks := self._networks(inbound, theirs, place):
                    made[ours] = networks
            if made:
                self.draft.more["tunnel"] = made

    def _networks(self, inbound: Mapping[str, Any], names: tuple[str, ...], place: str) -> list[str]:
        found = []
        for name in names:
            for text in listed(inbound.get(name)):
                try:
                    found.append(str(ip_network(str(text), strict=False)))
                except ValueError:
                    self.draft.tell(f"{place}.{name}", f"{text} is not a network")
        return found

    def _experimental(self) -> None:
        experimental = _table(self._data.get("experimental"))
        self._tell("experimental", experimental, "experimental.")
        api = _table(experimental.get("clash_api"))
        if controller := api.get("external_controller"):
            try:
                self.draft.more["api"] = api_section(controller, api.get("secret"))
            except LocalError as error:
                self.draft.tell("experimental.clash_api.external_controller", str(error), is_lost=False)

    def _tags(self) -> Iterator[str]:
        for each in [*listed(self._data.get("outbounds")), *listed(self._data.get("endpoints"))]:
            if isinstance(each, dict):
                yield str(each.get("tag") or "")

    def _target(self, tag: str) -> str:
        return self._targets.get(tag, tag)

    # Servers and groups.

    def _outbounds(self) -> None:
        proxies = ClashProxies(self.draft)
        groups = []
        for number, outbound in enumerate(listed(self._data.get("outbounds"))):
            place = f"outbounds[{number}]"
            if not isinstance(outbound, dict) or not isinstance(outbound.get("tag"), str):
                self.draft.tell(place, "an outbound is a table with a tag")
                continue
            tag, kind = outbound["tag"], str(outbound.get("type"))
            if kind in _WITHOUT:
                self._targets[tag] = _WITHOUT[kind]
            elif kind in _GROUPS:
                groups.append((place, outbound))
            elif kind != "dns":
                try:
                    entry = of_sing_box(outbound)
                except LocalError as error:
                    self.draft.lose(tag, place, f"outbound {tag!r}: {error}")
                    continue
                if isinstance(before := outbound.get("detour"), str) and before:
                    entry["dialer-proxy"] = before
                proxies.take(entry, place, None)
        for number, endpoint in enumerate(listed(self._data.get("endpoints"))):
            self._endpoint(endpoint, f"endpoints[{number}]", proxies)
        proxies.finish()
        for place, outbound in groups:
            try:
                self._group(outbound, place)
            except LocalError as error:
                self.draft.lose(outbound["tag"], place, f"group {outbound['tag']!r}: {error}")

    def _endpoint(self, endpoint: Any, place: str, proxies: ClashProxies) -> None:
        """A packet tunnel."""
        if not isinstance(endpoint, dict) or not isinstance(endpoint.get("tag"), str):
            self.draft.tell(place, "an endpoint is a table with a tag")
            return
        try:
            proxies.take(of_sing_box_endpoint(endpoint), place, None)
        except LocalError as error:
            self.draft.lose(endpoint["tag"], place, f"endpoint {endpoint['tag']!r}: {error}")

    def _group(self, outbound: dict[str, Any], place: str) -> None:
        """One group. Raises LocalError."""
        self._tell("group", outbound, f"{place}.")
        members = [self._target(str(each)) for each in listed(outbound.get("outbounds"))]
        if isinstance(first := outbound.get("default"), str) and first in members:
            members = [first, *(each for each in members if each != first)]
        made: dict[str, Any] = {"type": _GROUPS[outbound["type"]], "servers": members}
        if made["type"] == "url-test":
            if isinstance(url := outbound.get("url"), str) and url:
                made["url"] = url
            made["tolerance"] = min(_number(outbound.get("tolerance")) or 50, 60_000) / 1000
            if (seconds := seconds_of(outbound.get("interval"))) is not None:
                made["interval"] = float(min(86400, max(5, seconds)))
        self.draft.group(outbound["tag"], made, place)

    # Rules.

    def _rule(self, rule: Any, place: str) -> str | None:
        """A rule in our words, None for one that changes nothing here. Raises LocalError, ValueError."""
        if not isinstance(rule, dict):
            raise LocalError("a rule is a table")
        action = str(rule.get("action") or "route")
        if action in _TOLD or (action == "route" and str(rule.get("outbound")) in self._dns_tags()):
            self.draft.tell(place, f"{action}: done anyway", is_lost=False)
            return None
        condition = self._conditions.of(rule, place)
        if condition == NEVER:
            self.draft.tell(
                place, "no flow here is of its inbound, mode, user or program: it never holds", is_lost=False
            )
            return None
        if action == "reject":
            target = "REJECT-DROP" if rule.get("method") == "drop" else REJECT
        elif action == "direct":
            target = DIRECT
        elif action == "route" and isinstance(rule.get("outbound"), str):
            target = self._target(rule["outbound"])
        else:
            raise LocalError(f"action {action} is not supported; route and reject are")
        return f"MATCH,{target}" if condition == ALWAYS else rule_text(condition, target)

    def _dns_tags(self) -> set[str]:
        return {
            str(each.get("tag"))
            for each in listed(self._data.get("outbounds"))
            if isinstance(each, dict) and each.get("type") == "dns"
        }


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> int | None:
    try:
        return whole_number(str(value), 1 << 31)
    except NotANumber:
        return None
