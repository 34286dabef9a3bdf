"""Surge's `[Proxy]` and `[Proxy Group]`: servers as Clash would write them, groups as ours."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

from tunflow.errors import BadPacket, LocalError, RemoteError
from tunflow.numbers import NotANumber, whole_number
from tunflow.profiles.imports.clash_providers import LATER, now
from tunflow.profiles.imports.clash_proxies import ClashProxies
from tunflow.profiles.imports.draft import Draft
from tunflow.profiles.imports.provided_servers import entries_of
from tunflow.profiles.imports.surge_entries import TRUE, Tell, surge_entry, tell_keys
from tunflow.profiles.imports.surge_lines import ConfLine, fields, name_and_value, split_options
from tunflow.rules.targets import BUILT_IN, DIRECT, REJECT, REJECT_DROP

SAME = {
    "REJECT-NO-DROP": REJECT, "REJECT-TINYGIF": REJECT, "REJECT-200": REJECT, "REJECT-IMG": REJECT,
    "REJECT-DICT": REJECT, "REJECT-ARRAY": REJECT, "DIRECT": DIRECT, "REJECT": REJECT, "REJECT-DROP": REJECT_DROP,
}  # fmt: skip
"""Targets by another name, in any case."""
_KINDS = {
    "select": "select", "url-test": "url-test", "fallback": "fallback", "load-balance": "load-balance",
    "smart": "url-test",
}  # fmt: skip
_BY_NETWORK = {"subnet", "ssid"}


def target(name: str) -> str:
    """A target as we call it."""
    return SAME.get(name.upper(), name)


class SurgeServers:
    """Servers and groups of one file."""

    def __init__(
        self,
        draft: Draft,
        read: Callable[[str], tuple[bytes, str]],
        test_url: str | None,
        place: Callable[[int], str],
        *,
        fetches: bool,
    ) -> None:
        """`read` gives what is at an address or in a file beside, with its place; it raises LocalError, RemoteError.

        Without `fetches` what is at addresses comes later.
        """
        self._fetches = fetches
        self._draft = draft
        self._read = read
        self._test_url = test_url
        self._place = place
        self._proxies = ClashProxies(draft)
        self._groups: dict[str, tuple[ConfLine, str, list[str], dict[str, str]]] = {}
        self._paths: dict[str, list[str]] = {}
        """The servers of each `policy-path`."""
        self._lists: dict[str, dict[str, Any]] = {}
        """What a tunnel needs to fetch each again, of those that are at an address."""
        self._list_of: dict[str, str] = {}

    def read(self, proxies: list[ConfLine], groups: list[ConfLine]) -> None:
        """All of them."""
        for line in proxies:
            name, value = name_and_value(line.text)
            try:
                plain, options = split_options(fields(value))
                if name in BUILT_IN and plain and target(plain[0]) == name:
                    continue  # it is what it says
                entry = surge_entry(name, plain, options, self._teller(line))
            except LocalError as error:
                self._draft.lose(name, self._place(line.number), f"proxy {name!r}: {error}")
                continue
            self._proxies.own.append(name)
            self._proxies.take(entry, self._place(line.number), line.number)
        for line in groups:
            name, value = name_and_value(line.text)
            try:
                plain, options = split_options(fields(value))
            except LocalError as error:
                self._draft.lose(name, self._place(line.number), f"group {name!r}: {error}")
                continue
            kind = plain.pop(0).lower() if plain else ""
            self._groups[name] = (line, kind, [target(each) for each in plain], options)
        outside = {name: self._outside(name) for name, group in self._groups.items() if "policy-path" in group[3]}
        self._proxies.finish()
        self._finish_lists()
        for name, group in self._groups.items():
            try:
                self._group(name, group, outside.get(name, []))
            except LocalError as error:
                self._draft.lose(name, self._place(group[0].number), f"group {name!r}: {error}")

    def _teller(self, line: ConfLine) -> Tell:
        return lambda words: self._draft.tell(self._place(line.number), words, is_lost=False)

    # Groups.

    def _outside(self, name: str) -> list[str]:
        """The servers of a group's `policy-path`; a member that nobody knows where they were lost."""
        line, _, _, options = self._groups[name]
        path = options["policy-path"]
        if path not in self._paths:
            self._paths[path] = self._read_path(name, path, self._place(line.number))
        names = self._paths[path]
        if "://" in path:
            self._note_list(name, path, _number(options.get("update-interval")), bool(names))
        return names or [f"policy-path of {name}"]

    def _read_path(self, name: str, path: str, place: str) -> list[str]:
        """The servers of a list, as it is now."""
        try:
            entries = entries_of(*self._read(path))
        except (LocalError, RemoteError, BadPacket) as error:
            later = f"; {LATER}" if "://" in path else ""
            self._draft.tell(place, f"group {name!r}: policy-path: {error}{later}")
            return []
        for skipped in entries.skipped:
            self._draft.tell(skipped.place, skipped.reason)
        for each in entries.servers:
            self._proxies.take(each.values, each.place, each.line, each.link)
        return [each.values["name"] for each in entries.servers]

    def _note_list(self, name: str, url: str, interval: int | None, is_there: bool) -> None:
        """Have the profile know where a group's servers come from; groups of one list share it."""
        known = next((each for each, section in self._lists.items() if section["url"] == url), name)
        section = self._lists.setdefault(known, {"url": url})
        if is_there or self._fetches:
            section["fetched"] = now()
        if interval:
            section["interval"] = float(min(31_536_000, max(60, interval)))
        self._list_of[name] = known

    def _finish_lists(self) -> None:
        """Hand the lists over, with the servers that were taken of each."""
        for name, section in self._lists.items():
            taken = [each for each in self._paths[section["url"]] if each in self._draft.servers]
            self._draft.server_lists[name] = {**section, "servers": list(dict.fromkeys(taken))} if taken else section
            if "fetched" not in section:
                self._draft.promised |= {f"policy-path of {each}" for each, its in self._list_of.items() if its == name}

    def _group(self, name: str, group: tuple[ConfLine, str, list[str], dict[str, str]], outside: list[str]) -> None:
        """One group. Raises LocalError for what we do not have."""
        line, kind, members, options = group
        if kind in _BY_NETWORK:
            self._by_network(name, line, members, options)
            return
        if kind not in _KINDS:
            raise LocalError(f"type {kind!r} is not supported; {', '.join(_KINDS)} are")
        tell_keys("proxy group", f"group {name!r}", options, self._teller(line))
        found = list(outside)
        if options.get("include-all-proxies", "").lower() in TRUE:
            found += self._proxies.own
        for other in fields(options.get("include-other-group", "")):
            found += [each for each in self._members_of(other, (name,)) if each]
        if expression := options.get("policy-regex-filter"):
            try:
                found = [each for each in found if re.search(expression, each) or each == f"policy-path of {name}"]
            except (re.error, OverflowError, RecursionError) as error:
                raise LocalError(f"policy-regex-filter: {expression!r} is no regular expression: {error}") from None
        made: dict[str, Any] = {"type": _KINDS[kind], "servers": list(dict.fromkeys([*members, *found]))}
        if name in self._list_of:
            made |= {"lists": [self._list_of[name]], **({"filter": expression} if expression else {})}
        if (url := options.get("url") or self._test_url) and kind != "select":
            made["url"] = url
        if (interval := _number(options.get("interval"))) and kind != "select":
            made["interval"] = float(min(86400, max(5, interval)))
        if kind == "url-test":
            made["tolerance"] = min(_number(options.get("tolerance", "100")) or 0, 60_000) / 1000
        if kind == "load-balance" and options.get("persistent", "").lower() not in TRUE:
            made["strategy"] = "round-robin"
        self._draft.group(name, made, self._place(line.number), line.number)

    def _by_network(self, name: str, line: ConfLine, members: list[str], options: dict[str, str]) -> None:
        """A group that goes by the network: its default is chosen, and the others can be. Raises LocalError."""
        fallback = target(options.pop("default", ""))
        shown = {"hidden", "no-alert", "icon-url", "img-url"}
        others = [target(value) for key, value in options.items() if key not in shown]
        members = [target(each.rpartition("=")[2].strip()) for each in members]
        if not fallback:
            raise LocalError("it has no default")
        self._draft.tell(
            self._place(line.number),
            f"group {name!r}: it goes by the network that the machine is in: here its default {fallback} is chosen",
            is_lost=False,
        )
        made = {"type": "select", "servers": list(dict.fromkeys([fallback, *members, *others]))}
        self._draft.group(name, made, self._place(line.number), line.number)

    def _members_of(self, name: str, above: tuple[str, ...]) -> list[str]:
        """The members that another group names itself."""
        group = self._groups.get(name)
        if group is None or name in above or name in BUILT_IN:
            raise LocalError(f"include-other-group: there is no group {name!r}")
        return group[2]


def _number(text: str | None) -> int | None:
    """A number of seconds or milliseconds; None for none."""
    try:
        return whole_number(text or "", sys.maxsize)
    except NotANumber:
        return None
