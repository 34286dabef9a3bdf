"""What readers of other programs' rules share: a rule is checked as ours, before its lists and data are there."""

from __future__ import annotations

from tunflow.errors import LocalError
from tunflow.profiles.imports.draft import Draft, DraftRule
from tunflow.rules.cidr import CIDRSet
from tunflow.rules.conditions import DomainTest, RuleSet
from tunflow.rules.domains import DomainSet
from tunflow.rules.rule_set import parse_rule_set
from tunflow.rules.syntax import Context, RuleLine, cut_rule, parse_condition, parse_rule


class DraftRules:
    """Takes rules into a draft. Make it when the draft has its rule sets."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        anything = RuleSet(DomainSet(), CIDRSet())
        self._context = Context(
            dict.fromkeys(draft.rule_sets, anything),
            lambda _: CIDRSet(),
            lambda _: DomainTest(DomainSet()),
            lambda _: CIDRSet(),
        )

    def take(self, text: str, place: str, line: int | None = None) -> None:
        """One rule in our words. Raises LocalError or ValueError for one that is none."""
        parse_rule(RuleLine(text, self._draft.file, line or 0), self._context)
        self._draft.rules.append(DraftRule(text, place, line))

    def take_list(self, name: str, lines: list[str]) -> str:
        """A list of the profile's own, of which any condition is enough; the condition that it is.

        Raises LocalError for a line that is none: left out, it could be the one that keeps flows from going direct.
        """
        file = self._draft.file
        for line in lines:
            try:
                parse_condition(RuleLine(line, file, 0), self._context)
            except LocalError as error:
                raise LocalError(str(error).removeprefix(f"{file}:0: ")) from None
        self._draft.rule_sets[name] = {"behavior": "classical", "lines": lines}
        return f"RULE-SET,{name}"

    def check_list(self, text: str, behavior: str, place: str) -> None:
        """Raise LocalError if nothing of a list is understood, as whoever loads it does."""
        parse_rule_set(text, behavior, place, self._context)

    def lose(self, text: str, place: str, line: int | None, error: Exception) -> None:
        """A rule could not be taken; a line says why."""
        why = str(error).removeprefix(f"{self._draft.file}:{line or 0}: ")
        self._draft.lose_rule(place, why, target_of(text))


def target_of(rule: str) -> str | None:
    """Where a rule sends flows, as far as can be told of one that was not understood."""
    try:
        return cut_rule(rule).target
    except (ValueError, LocalError):
        return None
