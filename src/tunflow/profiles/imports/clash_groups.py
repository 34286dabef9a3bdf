"""Clash's `proxy-groups`."""

from __future__ import annotations

from typing import Any

from tunflow.errors import LocalError
from tunflow.profiles.imports.clash_providers import ClashProviders, number_of, provider_name
from tunflow.profiles.imports.clash_proxies import ClashProxies
from tunflow.profiles.imports.clash_source import ClashSource, is_true, texts
from tunflow.profiles.imports.provided_servers import is_chosen
from tunflow.rules.groups import KINDS, STRATEGIES
from tunflow.rules.health_question import parse_statuses
from tunflow.rules.targets import BUILT_IN

_SAME = {"COMPATIBLE": "DIRECT"}
"""Targets of Clash by another name."""


class ClashGroups:
    """The groups of one file."""

    def __init__(self, source: ClashSource, proxies: ClashProxies, providers: ClashProviders) -> None:
        self._source = source
        self._proxies = proxies
        self._providers = providers

    def read(self, groups: Any) -> None:
        """All of them."""
        for number, group in self._source.items("proxy-groups", groups):
            name = group["name"]
            try:
                self._group(number, group)
            except LocalError as error:
                place = self._source.at("proxy-groups", number)
                self._source.draft.lose(name, place, f"group {name!r}: {error}")

    def _group(self, number: int, group: dict[str, Any]) -> None:
        """One group. Raises LocalError for what we do not have."""
        source, key = self._source, ("proxy-groups", number)
        _check_kinds(group)
        name, kind, members = group["name"], group.get("type"), self._members(group)
        source.tell_keys("proxy-groups", group, f"group {name!r}: ", *key)
        if kind == "relay":
            source.draft.server(name, {"chain": self._chain(members)}, source.line(*key))
        elif kind in KINDS:
            made: dict[str, Any] = {"type": kind, "servers": members, **self._lists(group)}
            self._checks(made, group, *key)
            source.draft.group(name, made, source.at(*key), source.line(*key))
        else:
            raise LocalError(f"type {kind!r} is not supported; {', '.join(KINDS)} and relay are")

    def _checks(self, made: dict[str, Any], group: dict[str, Any], *key: str | int) -> None:
        """How a group asks its servers, and chooses."""
        name = group["name"]
        group = {**self._providers.checks_of(self._used(group)), **group}
        if group.get("url"):
            made["url"] = group["url"]
        if milliseconds := number_of(group.get("timeout")):
            made["timeout"] = min(60.0, max(0.1, milliseconds / 1000))
        if (expected := str(group.get("expected-status") or "*").strip()) != "*":
            try:
                parse_statuses(expected)
                made["expected_status"] = expected
            except ValueError as error:
                self._source.tell(f"group {name!r}: expected-status: {error}", *key, "expected-status")
        if str(group.get("lazy", "true")).lower() == "false" and made["type"] != "select":
            made["lazy"] = False
        interval = number_of(group.get("interval"))
        if interval:
            made["interval"] = float(min(86400, max(5, interval)))
        elif interval == 0 and made["type"] != "select":
            words = "servers are asked every 300 s all the same, or nobody would know which one works"
            self._source.tell(f"group {name!r}: interval: {words}", *key, "interval", is_lost=False)
        tolerance = number_of(group.get("tolerance"))
        if tolerance is not None and made["type"] == "url-test":
            made["tolerance"] = min(tolerance, 60_000) / 1000
        strategy = group.get("strategy")
        if strategy and made["type"] == "load-balance":
            if strategy in STRATEGIES:
                made["strategy"] = strategy
            else:
                self._source.tell(f"group {name!r}: strategy {strategy} is not known", *key, "strategy")

    def _members(self, group: dict[str, Any]) -> list[str]:
        """The names in a group, those that `filter` leaves out not among them. Raises LocalError."""
        members = [_SAME.get(each, each) for each in texts(group.get("proxies"))]
        found: list[str] = []
        if is_true(group.get("include-all")) or is_true(group.get("include-all-proxies")):
            found += self._proxies.own
        lost = []
        for provider in self._used(group):
            servers = self._providers.servers.get(provider)
            found += servers or ()
            if not servers:
                lost.append(provider_name(provider))
        kinds = self._proxies.kinds
        chosen = [name for name in found if is_chosen(name, kinds.get(name, ""), group)]
        return list(dict.fromkeys([*members, *chosen, *lost]))

    def _lists(self, group: dict[str, Any]) -> dict[str, Any]:
        """The lists that are fetched again, and which of their servers are the group's. Raises LocalError."""
        if not (lists := self._providers.fetched(self._used(group))):
            return {}
        is_chosen("", "", group)  # what is fetched later is chosen the same way
        keys = {"filter": "filter", "exclude-filter": "exclude_filter", "exclude-type": "exclude_type"}
        return {"lists": lists} | {
            ours: group[theirs] for theirs, ours in keys.items() if isinstance(group.get(theirs), str)
        }

    def _used(self, group: dict[str, Any]) -> list[str]:
        """The providers whose servers a group has."""
        if is_true(group.get("include-all")) or is_true(group.get("include-all-providers")):
            return list(self._providers.servers)
        return texts(group.get("use"))

    def _chain(self, members: list[str]) -> list[str]:
        """The links of a chain. Raises LocalError unless all its hops are there."""
        links: list[str] = []
        for member in members:
            section = self._source.draft.servers.get(member)
            if section is None:
                what = "a group" if member in self._source.draft.groups or member in BUILT_IN else "not there"
                raise LocalError(f"a chain without its hop {member!r} would be another one, and that is {what}")
            links += [section["url"]] if "url" in section else section["chain"]
        if not links:
            raise LocalError("a chain has hops")
        return links


def _check_kinds(group: dict[str, Any]) -> None:
    """Raise LocalError for values that would count as if they were not there."""
    for key in ("type", "filter", "exclude-filter", "exclude-type", "url", "interval", "strategy"):
        if isinstance(group.get(key), dict | list):
            raise LocalError(f"{key} must be a text")
    for key in ("proxies", "use"):
        value = group.get(key) or []
        if not isinstance(value, str | list) or not all(isinstance(each, str) for each in value):
            raise LocalError(f"{key} must be a list of names")
