"""Rule sets: lists that a rule refers to by name, in the three forms ("behaviors") that Clash gave them, and Surge's.

    domain      names: `example.com` (itself), `+.example.com` (and below), `.example.com` (only below), `*.example.com`
    domain-set  Surge's DOMAIN-SET: `example.com` (itself), `.example.com` (and below)
    ipcidr      prefixes: `10.0.0.0/8`, `2001:db8::/32`
    classical   rules without a target: `DOMAIN-SUFFIX,example.com`, `IP-CIDR,10.0.0.0/8,no-resolve`
    sing-box    sing-box's rules in JSON (`headless_rules`)

Each of the first four as text, one a line, or as Clash's YAML (`list_lines`).

Rule: a line that is not understood does not take the others with it: such lines are counted, and the first is told. A
list in which nothing is understood is an error: it is another thing than it is said to be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tunflow.errors import LocalError
from tunflow.rules import headless_rules
from tunflow.rules.cidr import CIDRSet, Span, span_of
from tunflow.rules.conditions import (
    Addresses,
    Condition,
    Domain,
    DomainKeyword,
    DomainSuffix,
    DomainWildcard,
    RuleSet,
)
from tunflow.rules.domains import DomainSet, normalise
from tunflow.rules.list_lines import ListEntry, entries
from tunflow.rules.syntax import EMPTY, NO_RESOLVE, TYPES, Context, MissingData, RuleLine, parse_condition

BEHAVIORS = ("domain", "ipcidr", "classical")
DOMAIN_SET = "domain-set"

Tell = Callable[[str], None]


def silent(_: str) -> None:
    """Tell nobody."""


def parse_rule_set(
    text: str, behavior: str, file: str, context: Context = EMPTY, tell: Tell = silent, *, resolve: bool = True
) -> RuleSet:
    """The rule set that a file holds; without `resolve` its addresses are not looked up for names.

    `tell` gets one line about the lines that are not understood. Raises LocalError that names the file and the line
    when none is, and MissingData for a country whose addresses are not here.
    """
    if behavior not in {*BEHAVIORS, DOMAIN_SET, headless_rules.BEHAVIOR}:
        raise LocalError(f"rule set {file}: {behavior!r} is not a behavior; {', '.join(BEHAVIORS)} are")
    reader = _Reader(file, behavior)
    if behavior == "ipcidr":
        made = reader.networks(entries(text, file, names=False))
    elif behavior == "classical":
        made = reader.conditions(entries(text, file, names=False), context)
    elif behavior == headless_rules.BEHAVIOR:
        made = reader.headless(text)
    else:
        made = reader.domains(entries(text, file, names=True))
    reader.report(tell)
    return made if resolve else made.without_resolving()


class _Reader:
    """One list on its way; keeps what was not understood."""

    def __init__(self, file: str, behavior: str) -> None:
        self._file = file
        self._behavior = behavior
        self._taken = 0
        self._lost = 0
        self._first: LocalError | None = None

    def report(self, tell: Tell) -> None:
        """Say what was not understood. Raises LocalError when nothing was."""
        if self._first is None:
            return
        if not self._taken:
            raise self._first
        others = self._lost - 1
        more = f" (and {others} more line{'s' if others > 1 else ''} of it)" if others else ""
        tell(f"{self._first}{more}: left out of the list")

    def _lose(self, entry: ListEntry, why: str) -> None:
        self._lost += 1
        if self._first is None:
            hint = _other_behavior(entry.text, self._behavior)
            self._first = RuleLine(entry.text, self._file, entry.number).error(f"{why}{hint}")

    def domains(self, items: Iterator[ListEntry]) -> RuleSet:
        exact: set[str] = set()
        below: set[str] = set()
        others: list[Condition] = []
        dot_means_below = self._behavior == DOMAIN_SET
        for entry in items:
            if entry.is_plain:  # nearly all of a long list
                (below if entry.is_suffix else exact).add(entry.text)
                continue
            text = entry.text
            try:
                if dot_means_below and text.startswith("."):
                    below.add(normalise(text[1:]))
                elif text.startswith("+."):
                    below.add(normalise(text[2:]))
                elif "*" in text or text.startswith("."):
                    others.append(_wildcard(text))
                else:
                    exact.add(normalise(text))
                self._taken += 1
            except ValueError as error:
                self._lose(entry, str(error))
        self._taken += len(exact) + len(below)
        return RuleSet(DomainSet(exact, below), CIDRSet(), tuple(others))

    def networks(self, items: Iterator[ListEntry]) -> RuleSet:
        spans: dict[int, list[Span]] = {4: [], 6: []}
        for entry in items:
            text, _, option = entry.text.partition(",")
            try:
                if option and option.strip().lower() != NO_RESOLVE:
                    raise ValueError
                version, first, end = span_of(text.strip())
            except ValueError:
                self._lose(entry, "not an IPv4 or IPv6 prefix")
            else:
                spans[version].append((first, end))
                self._taken += 1
        return RuleSet(DomainSet(), CIDRSet.from_spans(spans[4], spans[6]))

    def headless(self, text: str) -> RuleSet:
        made, self._taken = headless_rules.rule_set(
            text, self._file, lambda rule, number, why: self._lose(ListEntry(rule, number), why)
        )
        return made

    def conditions(self, items: Iterator[ListEntry], context: Context) -> RuleSet:
        return collect(self._conditions(items, context))

    def _conditions(self, items: Iterator[ListEntry], context: Context) -> Iterator[Condition]:
        for entry in items:
            try:
                condition = parse_condition(RuleLine(entry.text, self._file, entry.number), context)
            except MissingData:
                raise
            except LocalError as error:
                why = str(error).partition(": ")[2].rpartition(", in ")[0]
                self._lose(entry, why)
            else:
                self._taken += 1
                yield condition


def _other_behavior(text: str, behavior: str) -> str:
    """The behavior that a line would have a meaning in, as a hint behind what is wrong with it."""
    kind = text.partition(",")[0].strip().upper()
    if "," in text and kind in TYPES:
        found, what = "classical", "rule"
    elif _is(span_of, text):
        found, what = "ipcidr", "prefix"
    elif _is(_wildcard, text.removeprefix("+.")):
        found, what = "domain", "name"
    else:
        return ""
    return f'; this is a {what}: behavior = "{found}"' if found != behavior else ""


def _is(read: Callable[[str], object], text: str) -> bool:
    try:
        read(text)
    except ValueError:
        return False
    return True


def collect(conditions: Iterator[Condition]) -> RuleSet:
    """Any of `conditions`, with names and addresses gathered in sets."""
    exact: list[str] = []
    below: list[str] = []
    keywords: list[str] = []
    prefixes: dict[bool, tuple[list[Span], list[Span]]] = {True: ([], []), False: ([], [])}
    others: list[Condition] = []
    for condition in conditions:
        if isinstance(condition, Domain):
            exact.append(condition.name)
        elif isinstance(condition, DomainSuffix):
            below.append(condition.suffix)
        elif isinstance(condition, DomainKeyword):
            keywords.append(condition.keyword)
        elif isinstance(condition, Addresses) and isinstance(condition.addresses, CIDRSet):
            spans = prefixes[condition.resolve]
            for version, first, end in condition.addresses.spans():
                spans[0 if version == 4 else 1].append((first, end))
        else:
            others.append(condition)
    found = {resolve: CIDRSet.from_spans(*spans) for resolve, spans in prefixes.items()}
    if found[False]:
        others.append(Addresses(found[False], resolve=False))
    return RuleSet(DomainSet(exact, below, keywords), found[True], tuple(others))


def _wildcard(text: str) -> DomainWildcard:
    """`*` stands for one label, a dot in front for one or more. Raises ValueError."""
    below = text[:1] == "."
    labels = text[below:].split(".")
    return DomainWildcard(tuple(label if label == "*" else normalise(label) for label in labels), below)
