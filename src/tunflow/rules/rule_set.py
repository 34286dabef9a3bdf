"""Rule sets: lists that a rule refers to by name, in the three forms ("behaviors") that Clash gave them.

    domain      names: `example.com` (itself), `+.example.com` (and below), `.example.com` (only below), `*.example.com`
    ipcidr      prefixes: `10.0.0.0/8`, `2001:db8::/32`
    classical   rules without a target: `DOMAIN-SUFFIX,example.com`, `IP-CIDR,10.0.0.0/8,no-resolve`

Each as text, one a line, or as Clash's YAML, which is a line `payload:` and then one `- item` a line; both are told
apart by that line. That is all the YAML such lists use, and a general reader would need a minute for a long one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tunflow.addresses import ip_network
from tunflow.errors import LocalError
from tunflow.rules.cidr import CIDRSet, IPNetwork
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
from tunflow.rules.syntax import EMPTY, Context, Line, is_comment, parse_condition

BEHAVIORS = ("domain", "ipcidr", "classical")
_ITEM = re.compile(
    r"""\s*-\s+(?:'(?P<single>[^']*)'|"(?P<double>[^"\\]*)"|(?P<plain>[^'"#\s](?:[^#]|(?<!\s)\#)*))\s*(?:\#.*)?"""
)


def parse_rule_set(text: str, behavior: str, file: str, context: Context = EMPTY) -> RuleSet:
    """The rule set that a file holds. Raises LocalError, which names the file and the line."""
    items = _yaml_items(text, file) if _is_yaml(text) else _text_items(text, file)
    if behavior == "domain":
        return _domains(items)
    if behavior == "ipcidr":
        return RuleSet(DomainSet(), CIDRSet(_networks(items)))
    if behavior == "classical":
        return collect(parse_condition(line, context) for line in items)
    raise LocalError(f"rule set {file}: {behavior!r} is not a behavior; {', '.join(BEHAVIORS)} are")


def collect(conditions: Iterator[Condition]) -> RuleSet:
    """Any of `conditions`, with names and addresses gathered in sets."""
    exact: list[str] = []
    below: list[str] = []
    keywords: list[str] = []
    prefixes: dict[bool, list[IPNetwork]] = {True: [], False: []}
    others: list[Condition] = []
    for condition in conditions:
        if isinstance(condition, Domain):
            exact.append(condition.name)
        elif isinstance(condition, DomainSuffix):
            below.append(condition.suffix)
        elif isinstance(condition, DomainKeyword):
            keywords.append(condition.keyword)
        elif isinstance(condition, Addresses) and isinstance(condition.addresses, CIDRSet):
            prefixes[condition.resolve].extend(condition.addresses.networks())
        else:
            others.append(condition)
    found = {resolve: CIDRSet(networks) for resolve, networks in prefixes.items()}
    if found[False]:
        others.append(Addresses(found[False], resolve=False))
    return RuleSet(DomainSet(exact, below, keywords), found[True], tuple(others))


def _is_yaml(text: str) -> bool:
    first = next((line for line in text.splitlines() if not is_comment(line)), "")
    return first.rstrip().startswith("payload:")


def _text_items(text: str, file: str) -> Iterator[Line]:
    for number, line in enumerate(text.splitlines(), 1):
        if not is_comment(line):
            yield Line(line.strip(), file, number)


def _yaml_items(text: str, file: str) -> Iterator[Line]:
    begun = False
    for number, line in enumerate(text.splitlines(), 1):
        if is_comment(line):
            continue
        if not begun:
            if line.rstrip() not in {"payload:", "payload: []"}:
                raise Line(line.strip(), file, number).error("a rule set in YAML has the key payload and no other")
            begun = True
            continue
        item = _ITEM.fullmatch(line)
        if item is None:
            raise Line(line.strip(), file, number).error("what follows payload: is one '- item' a line")
        found = next(value for value in item.groups() if value is not None).strip()
        if found:
            yield Line(found, file, number)


def _networks(items: Iterator[Line]) -> Iterator[IPNetwork]:
    for line in items:
        try:
            yield ip_network(line.text, strict=False)
        except ValueError as error:
            raise line.error("not an IPv4 or IPv6 prefix") from error


def _domains(items: Iterator[Line]) -> RuleSet:
    exact: list[str] = []
    below: list[str] = []
    others: list[Condition] = []
    for line in items:
        text = line.text
        try:
            if text.startswith("+."):
                below.append(normalise(text[2:]))
            elif "*" in text or text[0] == ".":
                others.append(_wildcard(text))
            else:
                exact.append(normalise(text))
        except ValueError as error:
            raise line.error(str(error)) from error
    return RuleSet(DomainSet(exact, below), CIDRSet(), tuple(others))


def _wildcard(text: str) -> DomainWildcard:
    """`*` stands for one label, a dot in front for one or more."""
    below = text[0] == "."
    labels = text[below:].split(".")
    return DomainWildcard(tuple(label if label == "*" else normalise(label) for label in labels), below)
