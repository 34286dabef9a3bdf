"""A profile's rules, and those of its apps, as one table.

Targets of rules: the names of servers and groups, `DIRECT`, `REJECT` (told at once), `REJECT-DROP` (not told), and
`PROXY` for the profile's own `server`, unless a server or group is called so.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from tunflow.profiles.profile import Profile
from tunflow.rules.syntax import Rule, RuleLine, parse_rule
from tunflow.rules.table import RuleTable
from tunflow.rules.targets import DIRECT, REJECT
from tunflow.tunnel.app_rules import app_rules
from tunflow.tunnel.rule_lists import RuleLists


def make_table(profile: Profile, targets: set[str], lists: RuleLists | None = None) -> RuleTable:
    """The profile's app rules and rules. Raises LocalError that names the rule's line."""
    apps = app_rules(profile, {"direct": DIRECT, "block": REJECT})
    return RuleTable(chain(apps, rules_of(profile, targets, lists or RuleLists(profile))))


def rules_of(profile: Profile, targets: set[str], lists: RuleLists) -> Iterable[Rule]:
    """The profile's rules, one by one. Raises LocalError that names the rule's line."""
    context = lists.context
    for number, text in enumerate(profile.rules):
        line = RuleLine(text, profile.file or profile.name, profile.line("rules", number) or number + 1)
        rule = parse_rule(line, context)
        if rule.target not in targets:
            known = ", ".join(sorted(targets))
            raise line.error(f"there is no server or group {rule.target!r}; there are: {known}")
        yield rule
