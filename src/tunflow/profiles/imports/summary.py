"""What matters of a profile that was imported, first things first: where flows end, and how much there is."""

from __future__ import annotations

import re

from tunflow.errors import LocalError
from tunflow.profiles.imports.import_notice import ImportNotice
from tunflow.profiles.profile import Profile
from tunflow.rules.groups import Group, Groups, Health
from tunflow.rules.syntax import cut_rule
from tunflow.rules.targets import BUILT_IN, PROXY

MOST_GROUPS = 30
"""Groups by the line."""


def ends(profile: Profile) -> dict[str, list[str]]:
    """For MATCH and every group: the names on the way to where its flows go first."""
    servers = {*profile.servers, *((PROXY,) if profile.server else ())}
    made = [Group(name, section.type, section.servers) for name, section in profile.groups.items()]
    try:
        groups = Groups(made, servers, Health(lambda: 0.0), BUILT_IN)
    except LocalError:
        return {}  # a group within itself: compiling the profile says so
    last = cut_rule(profile.rules[-1]) if profile.rules else None
    found = {}
    if last is not None and last.kind in {"MATCH", "FINAL"}:
        found["MATCH"] = groups.way(last.target, "")
    return found | {name: groups.way(name, "")[1:] for name in profile.groups}


def lines(profile: Profile) -> list[str]:
    """The same for people, then how many of each thing there are."""
    said = [f"{name} -> {' -> '.join(way)}" for name, way in ends(profile).items()]
    if len(said) > MOST_GROUPS:
        said = [*said[:MOST_GROUPS], f"{len(said) - MOST_GROUPS} more groups"]
    counts = {
        "server": len(profile.servers) + bool(profile.server),
        "group": len(profile.groups),
        "rule": len(profile.rules),
        "rule set": len(profile.rule_sets),
    }
    return [*said, ", ".join(f"{count} {what}{'' if count == 1 else 's'}" for what, count in counts.items())]


def told_lines(told: list[ImportNotice]) -> list[str]:
    """What is to be told, one line for each thing: where it is said again, the first place and how many more."""
    places: dict[str, list[ImportNotice]] = {}
    for each in told:
        places.setdefault(_thing(each.reason), []).append(each)
    found = []
    for same in places.values():
        others = len(same) - 1
        more = f" (and {others} more such line{'s' if others > 1 else ''})" if others else ""
        found.append(f"{same[0].place}: {same[0].reason}{more}")
    return found


def _thing(reason: str) -> str:
    """What a reason is about, whichever server or group it is said of: `proxy 'a': tfo: …` and the same of `b`."""
    match = _OF_ONE.match(reason)
    return reason[match.end() :] if match is not None else reason


_OF_ONE = re.compile(r"(?:proxy|group|provider|rule set|outbound) '[^']*': ")
