"""A list of rules, compiled: the first that holds decides, and finding it does not mean asking them all.

Rules:
- The result is always that of asking rule after rule in order (the tests compare with just that).
- Rules on plain names and on addresses, of which lists hold thousands, are looked up: each index answers with the
  number of the *first* rule of its kind that holds. The other rules are asked in order, up to the best number so far.
- A rule that cannot be told before something is found out (`Need`) decides only if no earlier rule does.
"""

from __future__ import annotations

import heapq
from array import array
from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from tunflow.rules.cidr import CIDRSet, Span
from tunflow.rules.conditions import (
    Addresses,
    Condition,
    Domain,
    DomainKeyword,
    DomainSuffix,
    Facts,
    Need,
    RuleSet,
    Some,
)
from tunflow.rules.domains import DomainSet
from tunflow.rules.syntax import Rule

FEW_NAMES = 20_000
"""A rule set with more names is asked as it is; those of smaller ones are found in one index, whatever their number."""


class Verdict(NamedTuple):
    """Where a flow goes, and which rule said so."""

    target: str
    file: str
    line: int
    text: str


class RuleTable:
    """Rules in order, ready to be asked; nothing changes afterwards, so a reload is one assignment."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._targets: list[str] = []
        self._files: list[str] = []
        self._lines = array("I")
        self._texts: list[str] = []
        self._exact: dict[str, int] = {}
        self._below: dict[str, int] = {}
        self._long: list[tuple[int, DomainSet]] = []
        """Rule sets with many names, in order."""
        self._others: list[tuple[int, Condition]] = []
        self._first_by_name: int | None = None
        self._first_resolving: int | None = None
        spans: dict[int, list[tuple[Span, int]]] = {4: [], 6: []}
        shared: dict[str, str] = {}
        for number, rule in enumerate(rules):
            self._targets.append(shared.setdefault(rule.target, rule.target))
            self._files.append(shared.setdefault(rule.line.file, rule.line.file))
            self._lines.append(rule.line.number)
            self._texts.append(rule.line.text)
            self._add(number, rule.condition, spans)
        self._addresses4 = SpanIndex(spans[4])
        self._addresses6 = SpanIndex(spans[6])

    def __len__(self) -> int:
        return len(self._targets)

    @property
    def indexed_names(self) -> int:
        """How many names are kept here, beside the long lists, which keep theirs."""
        return len(self._exact) + len(self._below)

    @property
    def targets(self) -> list[str]:
        """Every target that a rule names, once, in order."""
        return list(dict.fromkeys(self._targets))

    def verdict(self, number: int) -> Verdict:
        """What the rule with this number says."""
        return Verdict(self._targets[number], self._files[number], self._lines[number], self._texts[number])

    def match(self, facts: Facts) -> Verdict | Need | None:
        """The first rule that holds; or what must be found out first; or None when no rule holds."""
        best = end = len(self._targets)
        needing: int | None = None
        need = Need.NAME
        name = facts.name
        if name is not None:
            best = self._lookup_name(name, best)
        elif self._first_by_name is not None and not facts.name_sought:
            needing = self._first_by_name
        address = facts.address
        if address is not None:
            best = (self._addresses4 if len(address) == 4 else self._addresses6).first(address, best)
        elif (
            self._first_resolving is not None
            and not facts.address_sought
            and (needing is None or self._first_resolving < needing)
        ):
            needing, need = self._first_resolving, Need.ADDRESS
        for number, condition in self._others:
            if number >= best or (needing is not None and number > needing):
                break
            answer = condition.holds(facts)
            if answer is True:
                best = number
                break
            if answer is not False:
                if needing is None or number < needing:
                    needing, need = number, answer
                break
        if needing is not None and needing < best:
            return need
        return self.verdict(best) if best < end else None

    def _lookup_name(self, name: str, best: int) -> int:
        whole = name
        found = self._exact.get(name, best)
        best = min(best, found)
        below = self._below
        if below:
            while True:
                found = below.get(name, best)
                if found < best:
                    best = found
                at = name.find(".")
                if at < 0:
                    break
                name = name[at + 1 :]
        for number, names in self._long:
            if number >= best:
                break
            if whole in names:
                return number
        return best

    def _add(self, number: int, condition: Condition, spans: dict[int, list[tuple[Span, int]]]) -> None:
        if isinstance(condition, Domain):
            self._exact.setdefault(condition.name, number)
            self._by_name(number)
        elif isinstance(condition, DomainSuffix):
            self._below.setdefault(condition.suffix, number)
            self._by_name(number)
        elif isinstance(condition, Addresses) and isinstance(condition.addresses, CIDRSet):
            self._add_addresses(number, condition.addresses, condition.resolve, spans)
        elif isinstance(condition, RuleSet):
            domains = condition.domains
            if len(domains) > FEW_NAMES:
                self._long.append((number, domains))
            else:
                for name in domains.exact:
                    self._exact.setdefault(name, number)
                for suffix in domains.suffixes:
                    self._below.setdefault(suffix, number)
            if domains:
                self._by_name(number)
            if condition.addresses:
                self._add_addresses(number, condition.addresses, condition.resolve, spans)
            others = (*map(DomainKeyword, domains.keywords), *condition.others)
            if others:
                self._others.append((number, Some(others)))
        else:
            self._others.append((number, condition))

    def _by_name(self, number: int) -> None:
        if self._first_by_name is None:
            self._first_by_name = number

    def _add_addresses(
        self, number: int, addresses: CIDRSet, resolve: bool, spans: dict[int, list[tuple[Span, int]]]
    ) -> None:
        for version, first, end in addresses.spans():
            spans[version].append(((first, end), number))
        if resolve and self._first_resolving is None:
            self._first_resolving = number


class SpanIndex:
    """Ranges of addresses with numbers, which may overlap; asked for the lowest number at an address."""

    __slots__ = ("_edges", "_numbers")

    def __init__(self, spans: Iterable[tuple[Span, int]]) -> None:
        """A sweep over the edges; at each, the lowest number of those that cover what follows (-1: none)."""
        ordered = sorted(spans)
        self._edges: list[int] = []
        self._numbers = array("i")
        covering: list[tuple[int, int]] = []  # (number, end)
        position = 0
        while position < len(ordered) or covering:
            if covering and (position == len(ordered) or covering[0][1] <= ordered[position][0][0]):
                at = covering[0][1]
            else:
                at = ordered[position][0][0]
            while position < len(ordered) and ordered[position][0][0] == at:
                (_, end), number = ordered[position]
                heapq.heappush(covering, (number, end))
                position += 1
            while covering and covering[0][1] <= at:
                heapq.heappop(covering)
            number = covering[0][0] if covering else -1
            if not self._numbers or self._numbers[-1] != number:
                self._edges.append(at)
                self._numbers.append(number)

    def first(self, packed: bytes, best: int) -> int:
        """The lowest number that covers the address, or `best` if none is lower."""
        at = bisect_right(self._edges, int.from_bytes(packed, "big")) - 1
        if at < 0:
            return best
        number = self._numbers[at]
        return number if 0 <= number < best else best
