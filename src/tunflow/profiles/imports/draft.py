"""A profile on its way from another program's whole configuration: what was taken, what was lost, and what that means.

Rule: an import fails closed. What a lost server, group or chain carried is refused, and goes direct only where the
configuration says DIRECT itself:
- A rule whose target was lost stays, with the target REJECT.
- A chain that lost a hop is lost itself: a shorter one would be another chain.
- A group that lost members and has no server left is REJECT, also where DIRECT was one of its members. One that lost
  the member it would begin with goes on with a server, not with a DIRECT that stood further down.
- Without a MATCH the last rule is MATCH,REJECT. The same where MATCH is DIRECT and a rule that sent flows elsewhere was
  not understood: those flows would come to it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tunflow.errors import LocalError
from tunflow.profiles.imports.import_notice import ImportNotice
from tunflow.profiles.profile import Profile
from tunflow.profiles.toml_lines import Key
from tunflow.protocols.registry import parse_server
from tunflow.rules.syntax import RuleText, cut_rule
from tunflow.rules.targets import BUILT_IN, DIRECT, REJECT, REJECT_DROP

_REFUSING = (REJECT, REJECT_DROP)


class DraftRule(NamedTuple):
    """A rule that was understood, its target unchecked: its text, its place, and its line if that is known."""

    text: str
    place: str
    line: int | None = None


class Draft:
    """What a profile's tables will be; `profile` makes it of them."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.servers: dict[str, dict[str, Any]] = {}
        self.groups: dict[str, dict[str, Any]] = {}
        """As a profile's, but with the members that the source names, whether they are there or not."""
        self.rules: list[DraftRule] = []
        self.rule_sets: dict[str, dict[str, Any]] = {}
        self.server_lists: dict[str, dict[str, Any]] = {}
        self.promised: set[str] = set()
        """Members of groups that stand for servers of a list which is fetched before the profile can come up."""
        self.dns: dict[str, Any] = {}
        self.more: dict[str, Any] = {}
        """Other keys of the profile."""
        self.lines: dict[Key, int] = {}
        self.told: list[ImportNotice] = []
        self._lost: set[str] = set()
        self._proxies: set[str] = set()
        """The servers that carry flows to somewhere else than their targets themselves, or nowhere."""
        self._places: dict[str, str] = {}
        self._closed_by: str | None = None

    # What was found.

    def server(self, name: str, section: dict[str, Any], line: int | None = None) -> None:
        """A server or chain was taken. Raises LocalError for a name that is taken or cannot be one."""
        self.claim(name)
        self.servers[name] = section
        if _is_proxy(section):
            self._proxies.add(name)
        if line is not None:
            self.lines["servers", name] = line

    def group(self, name: str, section: dict[str, Any], place: str, line: int | None = None) -> None:
        """A group was taken. Raises LocalError for a name that is taken or cannot be one."""
        self.claim(name)
        self.groups[name] = section
        self._places[name] = place
        if line is not None:
            self.lines["groups", name] = line

    def claim(self, name: str) -> None:
        """Raise LocalError unless something may be called that."""
        if name in BUILT_IN or name in self.servers or name in self.groups:
            raise LocalError("the name is taken")
        if not name or "," in name:
            raise LocalError("a name is not empty and has no comma")

    def lose(self, name: str, place: str, why: str) -> None:
        """A server, chain or group was not taken."""
        self._lost.add(name)
        self.tell(place, why)

    def lose_rule(self, place: str, why: str, target: str | None) -> None:
        """A rule was not understood; `target` is None where not even that was."""
        self.tell(place, why)
        if target != DIRECT:
            self._closed_by = self._closed_by or place

    def tell(self, place: str, why: str, *, is_lost: bool = True) -> None:
        """Say a line about the source."""
        self.told.append(ImportNotice(place, " ".join(why.split())[:300], is_lost))

    @property
    def is_usable(self) -> bool:
        """True if a server is left, or there was none to lose."""
        return bool(self._proxies or self.promised) or not self._lost

    # What becomes of it.

    def profile(self, name: str) -> Profile:
        """The profile that is left. Raises LocalError."""
        self.close_groups()
        self._close_rules()
        data: dict[str, Any] = {
            "name": name,
            "servers": self.servers,
            "groups": self.groups,
            "server_lists": self.server_lists,
            "rule_sets": self.rule_sets,
            "rules": [rule.text for rule in self.rules],
            "dns": self.dns,
            **self.more,
        }
        for number, rule in enumerate(self.rules):
            if rule.line is not None:
                self.lines["rules", number] = rule.line
        made = Profile.parse({key: value for key, value in data.items() if value}, self.file, self.lines)
        made._file, made._lines = self.file, self.lines
        return made

    def close_groups(self) -> None:
        """Leave out members that are not there, and refuse what no server is left for."""
        known = {*self.servers, *self.groups, *BUILT_IN, *self.promised}
        losers = {name for name, group in self.groups.items() if not known.issuperset(group["servers"])}
        for name in losers:
            self._tell_lost_members(name, [each for each in self.groups[name]["servers"] if each not in known])
        carrying = self._carrying_groups()
        broken = self._broken_groups(losers, carrying)
        for name, group in self.groups.items():
            if name in broken:
                # What its lists bring when they are fetched again takes the place of that.
                later = group if group.get("lists") else {"type": "select"}
                self.groups[name] = {**later, "servers": [REJECT]}
                self.tell(self._places[name], f"group {name!r} has no server left: it is {REJECT}")
            elif name in losers:
                group["servers"] = self._still(group["servers"], known, carrying)
            if self.promised:
                group["servers"] = [each for each in group["servers"] if each not in self.promised]

    def _tell_lost_members(self, name: str, missing: list[str]) -> None:
        members = self.groups[name]["servers"]
        only = "its only server" if sum(each not in BUILT_IN for each in members) == len(missing) == 1 else "members"
        shown = ", ".join(missing[:10]) + (f" and {len(missing) - 10} more" if len(missing) > 10 else "")
        self.tell(self._places[name], f"group {name!r} lost {only}: {shown}")

    def _carrying_groups(self) -> set[str]:
        """The groups from which a server can be reached."""
        carrying: set[str] = set()
        servers = self._proxies | self.promised
        while True:
            more = {
                name for name, group in self.groups.items()
                if name not in carrying and any(each in servers or each in carrying for each in group["servers"])
            }  # fmt: skip
            if not more:
                return carrying
            carrying |= more

    def _broken_groups(self, losers: set[str], carrying: set[str]) -> set[str]:
        """The groups that lost all that they had for servers, themselves or within a member."""
        broken = {name for name, group in self.groups.items() if not group["servers"]}
        broken |= {name for name in losers if name not in carrying}
        while True:
            more = {
                name for name, group in self.groups.items()
                if name not in broken and name not in carrying and not broken.isdisjoint(group["servers"])
            }  # fmt: skip
            if not more:
                return broken
            broken |= more

    def _still(self, members: list[str], known: set[str], carrying: set[str]) -> list[str]:
        """The members that are there; servers first where the first was lost."""
        there = [each for each in members if each in known]
        if members[0] in known:
            return there
        first = [each for each in there if each in carrying or each in _REFUSING or each in self._proxies]
        return [*first, *(each for each in there if each not in first)]

    def _close_rules(self) -> None:
        known = {*self.servers, *self.groups, *BUILT_IN}
        self._end_at_match()
        for number, rule in enumerate(self.rules):
            parts = cut_rule(rule.text)
            if parts.target not in known:
                self.tell(rule.place, f"there is no server or group {parts.target!r}: the rule is {REJECT}")
                self.rules[number] = rule._replace(text=parts._replace(target=REJECT).text)
        last = cut_rule(self.rules[-1].text) if self.rules else RuleText("", "", "")
        if last.kind not in {"MATCH", "FINAL"}:
            self.tell(f"{self.file}", f"there is no MATCH: what no rule is about is {REJECT}")
            self.rules.append(DraftRule(f"MATCH,{REJECT}", self.file))
        elif self._closed_by is not None and self._ends_direct(last.target):
            self.tell(
                self.rules[-1].place,
                f"MATCH,{last.target} would take what the rule at {self._closed_by} sent elsewhere: it is {REJECT}",
            )
            self.rules[-1] = self.rules[-1]._replace(text=f"MATCH,{REJECT}")

    def _end_at_match(self) -> None:
        """Leave out rules that end behind MATCH, where they are never asked."""
        kinds = [cut_rule(rule.text).kind for rule in self.rules]
        last = next((number for number, kind in enumerate(kinds) if kind in {"MATCH", "FINAL"}), None)
        if last is not None and kinds[-1] not in {"MATCH", "FINAL"}:
            first, more = self.rules[last + 1], len(self.rules) - last - 2
            words = f"{first.text}{f' and {more} more' if more else ''}: behind MATCH no rule is asked"
            self.tell(first.place, words, is_lost=False)
            del self.rules[last + 1 :]

    def _ends_direct(self, target: str) -> bool:
        """Return True if a target is DIRECT by its first members."""
        for _ in range(len(self.groups) + 1):
            if target not in self.groups:
                break
            target = next(iter(self.groups[target]["servers"]), REJECT)
        return target == DIRECT or (target in self.servers and target not in self._proxies)


def _is_proxy(section: dict[str, Any]) -> bool:
    """Return True if a server carries flows to somewhere else than their targets themselves, or nowhere."""
    links = [section["url"]] if "url" in section else section["chain"]
    return all(parse_server(link).first_hop is not None for link in links)
