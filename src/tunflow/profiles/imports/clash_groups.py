"""Clash's `proxy-groups`."""

from __future__ import annotations

import sys
from typing import Any

from tunflow.errors import LocalError
from tunflow.numbers import NotANumber, whole_number
from tunflow.profiles.imports.clash_providers import ClashProviders, is_chosen, provider_name
from tunflow.profiles.imports.clash_proxies import ClashProxies
from tunflow.profiles.imports.clash_source import ClashSource, is_true, texts
from tunflow.rules.groups import KINDS, STRATEGIES
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
        name, kind, members = group["name"], group.get("type"), self._members(group)
        source.tell_keys("proxy-groups", group, f"group {name!r}: ", *key)
        if kind == "relay":
            source.draft.server(name, {"chain": self._chain(members)}, source.line(*key))
        elif kind in KINDS:
            made: dict[str, Any] = {"type": kind, "servers": members}
            self._checks(made, group, *key)
            source.draft.group(name, made, source.at(*key), source.line(*key))
        else:
            raise LocalError(f"type {kind!r} is not supported; {', '.join(KINDS)} and relay are")

    def _checks(self, made: dict[str, Any], group: dict[str, Any], *key: str | int) -> None:
        """How a group asks its servers, and chooses."""
        name = group["name"]
        if group.get("url"):
            made["url"] = group["url"]
        interval = _number(group.get("interval"))
        if interval:
            made["interval"] = float(min(86400, max(5, interval)))
        elif interval == 0 and made["type"] != "select":
            words = "servers are asked every 300 s all the same, or nobody would know which one works"
            self._source.tell(f"group {name!r}: interval: {words}", *key, "interval", is_lost=False)
        tolerance = _number(group.get("tolerance"))
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
        used = texts(group.get("use"))
        every = is_true(group.get("include-all"))
        found: list[str] = []
        if every or is_true(group.get("include-all-proxies")):
            found += self._proxies.own
        if every or is_true(group.get("include-all-providers")):
            used = list(self._providers.servers)
        lost = []
        for provider in used:
            servers = self._providers.servers.get(provider)
            found += servers or ()
            if not servers:
                lost.append(provider_name(provider))
        kinds = self._proxies.kinds
        chosen = [name for name in found if is_chosen(name, kinds.get(name, ""), group)]
        return list(dict.fromkeys([*members, *chosen, *lost]))

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


def _number(value: Any) -> int | None:
    """The number that YAML's text says; None for what is none."""
    try:
        return whole_number(str(value), sys.maxsize)
    except NotANumber:
        return None
