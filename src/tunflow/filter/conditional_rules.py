"""The rules of a list that depend on who asks, for what type of records, or that say what a name is answered with."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from tunflow.filter.conditions import RuleConditions
from tunflow.filter.list_line import ConditionalRule, DomainRule
from tunflow.filter.url_rules import URLRules
from tunflow.filter.wildcard import URLText
from tunflow.rules.expression import Allowance

_ASKED = 40
"""What it costs to find out whom a rule is for, in the steps of an `Allowance`."""


class ConditionalLine(NamedTuple):
    """A rule that holds for a name or URL, if its conditions do."""

    line: int
    strength: int
    conditions: RuleConditions


class ConditionalRules:
    """Those of one list: few, as real lists are."""

    def __init__(self) -> None:
        self._kept: list[tuple[int, ConditionalRule]] = []
        self._by_name: dict[str, list[tuple[bool, bool, ConditionalLine]]] = {}
        """For the name itself, for those below it, and the rule."""
        self._lines: dict[int, ConditionalLine] = {}
        self._urls = URLRules()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def has_urls(self) -> bool:
        """True if some are about URLs, and about flows."""
        return any(
            not isinstance(each.rule, DomainRule) and not each.conditions.is_about_queries for _, each in self._kept
        )

    @property
    def has_audiences(self) -> bool:
        """True if some are about flows of some clients only."""
        return any(not each.conditions.is_about_queries for _, each in self._kept)

    @property
    def has_queries(self) -> bool:
        """True if some are about queries alone."""
        return any(each.conditions.is_about_queries for _, each in self._kept)

    def add(self, rule: ConditionalRule, line: int) -> None:
        """Keep a rule until `close`."""
        self._kept.append((line, rule))

    def remove(self, rules: Collection[ConditionalRule]) -> None:
        """Forget all rules that say the same as one of `rules`."""
        said = frozenset(rules)
        self._kept = [(line, each) for line, each in self._kept if each not in said]

    def close(self) -> int:
        """File what was added. How many regular expressions among them cannot be kept beside the others."""
        kept = []
        for line, each in self._kept:
            made = ConditionalLine(line, each.rule.strength, each.conditions)
            if isinstance(each.rule, DomainRule):
                self._by_name.setdefault(each.rule.name, []).append((each.rule.itself, each.rule.below, made))
            else:
                try:
                    self._urls.add(each.rule, len(self._lines))
                except ValueError:
                    continue
                self._lines[len(self._lines)] = made
            kept.append((line, each))
        not_kept = len(self._kept) - len(kept)
        self._kept = kept
        return not_kept + self._urls.close().total()

    def find(self, names: Sequence[str], url: URLText, allowance: Allowance) -> list[ConditionalLine]:
        """The rules whose patterns hold for a host or URL; `names` are the host and those that it lies below.

        Raises OutOfAllowance.
        """
        found = []
        for name in names:
            is_below = name is not names[0]
            place = self._by_name.get(name)
            if place is not None:
                allowance.spend(len(place) * _ASKED)
                found += [made for itself, below, made in place if (below if is_below else itself)]
        if len(self._urls):
            standing = self._urls.texts.standing(url.small, allowance)
            held = self._urls.matching(names[0], url, names, standing, allowance)
            allowance.spend(len(held) * _ASKED)
            found += [self._lines[filed.where] for filed in held]
        return found
