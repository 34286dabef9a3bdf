"""A profile's `server_lists`: servers that a provider keeps at an address, as they were last fetched.

Rules:
- What was fetched (`rule_update`, into the data directory) stands in place of what an import took, if it is newer.
- A list that could not be fetched when it was imported (`fetched` without `servers`) keeps nothing from starting.
- Nothing opens: a group whose lists have no server for it any more goes on with its other servers and is REJECT without
  some, also where DIRECT is in it; a rule whose server is gone is REJECT. Each is told.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from tunflow.errors import BadPacket, LocalError
from tunflow.profiles import file as profile_file
from tunflow.profiles.imports.provided_servers import ProvidedList, entries_of, is_chosen, renamed
from tunflow.profiles.profile import Profile
from tunflow.profiles.sections.rules import GroupSection, ServerListSection
from tunflow.rules.syntax import cut_rule
from tunflow.rules.targets import PROXY, REJECT
from tunflow.tunnel import rule_data
from tunflow.tunnel.rule_lists import RuleLists
from tunflow.tunnel.rule_update import ListSource, fetched_at

_TOLD = 3
"""Lines about one list."""


class _Content(NamedTuple):
    """What was fetched, from where, and when."""

    data: bytes
    file: str
    fetched: datetime | None


def label(name: str) -> str:
    """What a list is called where people read of it."""
    return f"server list {name}"


def sources(profile: Profile) -> list[ListSource]:
    """The profile's lists of servers, as `rule_update` fetches them."""
    return [
        ListSource(
            label(name),
            section.url,
            rule_data.server_list_path(section.url),
            lambda data, section=section, name=name: _count(data, name, section),  # type: ignore[misc]
            section.key,
            is_private=True,
        )
        for name, section in profile.server_lists.items()
    ]


def with_fetched_servers(profile: Profile, lists: RuleLists) -> Profile:
    """The profile with the servers of its lists as they were last fetched; twice is as once.

    Raises LocalError, MissingData where a list was neither fetched nor imported.
    """
    found: dict[str, _Content] = {}
    for name, section in profile.server_lists.items():
        if (content := _newer(section)) is not None:
            found[name] = content
        elif not section.servers and section.fetched is None:
            lists.must_be_fetched("server_lists", name, what=f"server list {name!r}")
    for name, group in profile.groups.items():
        if unknown := [each for each in group.lists if each not in profile.server_lists]:
            raise LocalError(f"{profile.at('groups', name)}: there is no server list {unknown[0]!r}")
    needs = any(group.lists and not group.servers for group in profile.groups.values())
    return _Merge(profile, lists).made(found) if found or needs else profile


def _newer(section: ServerListSection) -> _Content | None:
    """What was fetched after an import took servers; None for nothing."""
    path = rule_data.server_list_path(section.url)
    for place in rule_data.directories():
        if not _is_there(place / path):
            continue
        when = fetched_at(ListSource("", section.url, path, len), place)
        taken = datetime.fromisoformat(section.fetched) if section.fetched else None
        if section.servers and taken is not None and (when is None or when < taken):
            return None
        return _Content(rule_data.read(place / path), str(place / path), when)
    return None


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # another user's
        return False


def _chosen(content: bytes, place: str, name: str, section: ServerListSection) -> ProvidedList:
    """The entries of a list that the profile wants, by the names that they have here. Raises LocalError, BadPacket."""
    entries = entries_of(content, place)
    chooser = {"filter": section.filter, "exclude-filter": section.exclude_filter, "exclude-type": section.exclude_type}
    override = {
        "additional-prefix": section.prefix,
        "additional-suffix": section.suffix,
        "proxy-name": [{"pattern": each, "target": to} for each, to in section.rename.items()],
    }
    try:
        servers = [
            entry._replace(values={**entry.values, "name": renamed(entry.values["name"], override)})
            for entry in entries.servers
            if is_chosen(entry.values["name"], str(entry.values.get("type", "")), chooser)
        ]
        return entries._replace(servers=servers)
    except LocalError as error:
        raise LocalError(f"server list {name!r}: {error}") from None


def _count(content: bytes, name: str, section: ServerListSection) -> int:
    """How many of a list's servers can be used. Raises LocalError, BadPacket when there is none."""
    from tunflow.profiles.imports.clash_proxies import ClashProxies  # noqa: PLC0415 (for who has such lists)
    from tunflow.profiles.imports.draft import Draft  # noqa: PLC0415

    draft = Draft("the fetched list")
    proxies = ClashProxies(draft)
    for entry in _chosen(content, "the fetched list", name, section).servers:
        proxies.take(entry.values, entry.place, entry.line, entry.link)
    proxies.finish()
    if not draft.servers:
        first = f": {draft.told[0].reason}" if draft.told else ""
        raise BadPacket(f"the fetched list has no server that can be used{first}")
    return len(draft.servers)


class _Merge:
    """One profile and what was fetched for it."""

    def __init__(self, profile: Profile, lists: RuleLists) -> None:
        from tunflow.profiles.imports.clash_proxies import ClashProxies  # noqa: PLC0415 (for who has such lists)
        from tunflow.profiles.imports.draft import Draft  # noqa: PLC0415

        self._profile = profile
        self._lists = lists
        self._draft = Draft(profile.file or profile.name)
        self._proxies = ClashProxies(self._draft)
        self._kinds: dict[str, str] = {}
        """The protocol of each server of a list, as Clash calls it."""

    def made(self, found: dict[str, _Content]) -> Profile:
        """The profile with them. Raises LocalError."""
        profile, draft = self._profile, self._draft
        data = profile_file.as_data(profile)
        stale = {each for name in found for each in profile.server_lists[name].servers}
        servers: dict[str, Any] = data.get("servers", {})
        for name, section in servers.items():
            if name not in stale:
                draft.server(name, section)
        if profile.server and PROXY not in draft.servers and PROXY not in profile.groups:
            draft.server(PROXY, {"chain": [link.text for link in profile.server]})
        fresh = self._take(found)
        members = {name: fresh.get(name, list(each.servers)) for name, each in profile.server_lists.items()}
        groups: dict[str, Any] = data.get("groups", {})
        for name, group in profile.groups.items():
            merged = {**groups[name], "servers": self._members(group, members, stale)}
            draft.group(name, merged, profile.at("groups", name))
        draft.close_groups()
        for notice in draft.told:
            self._lists.tell(f"{notice.place}: {notice.reason}")
        known = set(draft.servers) | set(draft.groups)
        sections = {
            name: {**section, **(_state(found[name], fresh[name]) if name in found else {})}
            for name, section in data.get("server_lists", {}).items()
        }
        data |= {
            "servers": {name: each for name, each in draft.servers.items() if name != PROXY or PROXY in servers},
            "groups": draft.groups,
            "server_lists": sections,
            "rules": [self._closed(rule, number, stale - known) for number, rule in enumerate(profile.rules)],
        }
        return profile.saying(data)

    def _take(self, found: dict[str, _Content]) -> dict[str, list[str]]:
        """The servers of each list that can be used, into the draft. Raises LocalError."""
        fresh: dict[str, list[str]] = {}
        for name, content in found.items():
            section = self._profile.server_lists[name]
            before = len(self._draft.told)
            try:
                entries = _chosen(content.data, content.file, name, section)
            except BadPacket as error:
                raise LocalError(f"{content.file}: {error}") from None
            for notice in entries.skipped:
                self._draft.tell(notice.place, notice.reason)
            for entry in entries.servers:
                self._proxies.take(entry.values, entry.place, entry.line, entry.link)
                self._kinds.setdefault(entry.values["name"], str(entry.values.get("type", "")))
            fresh[name] = [entry.values["name"] for entry in entries.servers]
            del self._draft.told[before + _TOLD :]
        self._proxies.finish()
        for name, taken in fresh.items():
            fresh[name] = [each for each in dict.fromkeys(taken) if each in self._draft.servers]
            if through := self._profile.server_lists[name].through:
                self._put_behind(name, through, fresh[name])
        return fresh

    def _put_behind(self, name: str, through: str, servers: list[str]) -> None:
        """Reach a list's servers through another one. Raises LocalError where that is not there."""
        front = self._draft.servers.get(through)
        if front is None or through in servers:
            place = self._profile.at("server_lists", name)
            raise LocalError(f"{place}: through: there is no server {through!r} outside of the list")
        for each in servers:
            self._draft.servers[each] = {"chain": [*_links(front), *_links(self._draft.servers[each])]}

    def _members(self, group: GroupSection, members: dict[str, list[str]], stale: set[str]) -> list[str]:
        """A group's own members, and in their place those of its lists; a name that nobody has where that is nobody."""
        if not group.lists:
            return list(group.servers)
        of_lists = [each for name in group.lists for each in members[name]]
        chooser = {"filter": group.filter, "exclude-filter": group.exclude_filter, "exclude-type": group.exclude_type}
        chosen = [each for each in dict.fromkeys(of_lists) if is_chosen(each, self._kind(each), chooser)]
        before = [each for each in group.servers if each in stale or each in chosen]
        if chosen and group.servers == (REJECT,):
            return chosen  # it was closed for want of them
        at = group.servers.index(before[0]) if before else len(group.servers)
        left = [each for each in group.servers if each not in before]
        at = min(at, len(left))
        return [*left[:at], *(chosen or [f"list {' '.join(group.lists)}"]), *left[at:]]

    def _kind(self, name: str) -> str:
        if name in self._kinds:
            return self._kinds[name]
        return _links(self._draft.servers[name])[-1].partition("://")[0] if name in self._draft.servers else ""

    def _closed(self, rule: str, number: int, gone: set[str]) -> str:
        """A rule, which is REJECT where its server is gone."""
        try:
            parts = cut_rule(rule)
        except ValueError:  # which the rules' own reader says better
            return rule
        if parts.target not in gone:
            return rule
        self._lists.tell(f"{self._profile.at('rules', number)}: {parts.target!r} left its list: the rule is {REJECT}")
        return parts._replace(target=REJECT).text


def _links(section: dict[str, Any]) -> list[str]:
    """The links of a server or chain, as a profile has it."""
    return [section["url"]] if "url" in section else list(section["chain"])


def _state(content: _Content, servers: list[str]) -> dict[str, Any]:
    """What a list's table says of what was taken of it."""
    when = {} if content.fetched is None else {"fetched": content.fetched.isoformat(timespec="seconds")}
    return {"servers": servers, **when}
