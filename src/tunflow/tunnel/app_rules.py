"""`[[apps]]` as rules in front of the others: which programs' flows stay in the tunnel, go around it, or are refused.

The first entry that matches counts. `tunnel` hands the flow on to the profile's `rules`; what no entry matches gets
`other_apps`. As Apple's per-app VPN has it, a flow whose program cannot be told is that of another app.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tunflow.profiles.profile import Profile
from tunflow.profiles.sections.apps import AppSection
from tunflow.providers.app_rule import AppRule
from tunflow.rules.conditions import Facts, Need
from tunflow.rules.syntax import Rule, RuleLine

OTHERS = -1
"""The number of the entry that stands for all other apps."""


@dataclass(frozen=True, slots=True)
class Apps:
    """The entries in order."""

    rules: Sequence[AppRule]

    def first(self, facts: Facts) -> int | Need:
        """The number of the first entry that matches; a name is asked for only where it decides."""
        process = facts.process
        for number, rule in enumerate(self.rules):
            if rule.match_domains is None or facts.name is not None or facts.name_sought:
                if rule.matches(process, facts.name):
                    return number
            elif _matches_program(rule, facts):
                return Need.NAME
        return OTHERS


@dataclass(frozen=True, slots=True)
class AppCondition:
    """Holds for flows that one entry decides."""

    apps: Apps
    number: int

    def holds(self, facts: Facts) -> bool | Need:
        """Return True if this is the entry."""
        first = self.apps.first(facts)
        return first if isinstance(first, Need) else first == self.number


def app_rules(profile: Profile, targets: dict[str, str]) -> Iterator[Rule]:
    """Rules for the profile's apps; `targets` are those of the actions that end a flow's search."""
    apps = Apps([app_rule(section) for section in profile.apps])
    for number, section in enumerate(profile.apps):
        if section.action in targets:
            line = _line(profile, f"apps[{number}] {_text(section)}", "apps", number)
            yield Rule(AppCondition(apps, number), targets[section.action], line)
    if profile.apps and profile.other_apps in targets:
        line = _line(profile, f"other_apps = {profile.other_apps}", "other_apps")
        yield Rule(AppCondition(apps, OTHERS), targets[profile.other_apps], line)


def asks_for_processes(profile: Profile) -> bool:
    """Return True if rules, the filter, a provider or Tor's circuits need to know whose a flow is."""
    kinds = ("PROCESS-", "UID,")
    in_rules = any(kind in rule.upper() for rule in profile.rules for kind in kinds)
    in_sets = any(section.behavior == "classical" for section in profile.rule_sets.values())
    links = [*profile.server, *(link for each in profile.servers.values() for link in each.links)]
    by_program = any(link.server.wants_programs for link in links)
    by_filter = profile.filter is not None and profile.filter.asks_for_processes
    return profile.provider is not None or bool(profile.apps) or in_rules or in_sets or by_program or by_filter


def app_rule(section: AppSection) -> AppRule:
    """The AppRule that an entry of `[[apps]]` is."""
    return AppRule(section.path, section.uid, section.cgroup, section.domains or None)


def _matches_program(rule: AppRule, facts: Facts) -> bool:
    """Return True if all but the name is right."""
    if rule.match_path is rule.match_cgroup is None and rule.match_uid is None:
        return True
    return AppRule(rule.match_path, rule.match_uid, rule.match_cgroup).matches(facts.process, None)


def _line(profile: Profile, text: str, *key: str | int) -> RuleLine:
    return RuleLine(text, profile.file or profile.name, profile.line(*key) or 0)


def _text(section: AppSection) -> str:
    said = section.model_dump(exclude_unset=True, exclude={"action"})
    return ", ".join(
        f"{key} {value if not isinstance(value, tuple) else ' '.join(value)}" for key, value in said.items()
    )
