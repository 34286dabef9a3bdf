"""What matters of a profile that was imported, first things first: where flows end, and how much there is."""

from __future__ import annotations

from tunflow.errors import LocalError
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
