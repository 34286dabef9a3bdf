"""Rules as people write them: `TYPE,VALUE,TARGET[,no-resolve]`, as Surge and Clash have made it known.

    DOMAIN-SUFFIX,example.com,NAME          IP-CIDR,10.0.0.0/8,DIRECT,no-resolve
    AND,((NETWORK,udp),(DST-PORT,443)),REJECT                      MATCH,NAME

Rule: a line that is not understood is an error that names its file, its line and what is accepted. A rule that
silently did not work would send traffic where its writer did not want it.

Read first: https://clash.wiki/configuration/rules.html, https://manual.nssurge.com/rule/overview.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from tunflow.errors import LocalError
from tunflow.numbers import NotANumber, whole_number
from tunflow.rules.cidr import CIDRSet
from tunflow.rules.conditions import (
    Addresses,
    AddressTest,
    All,
    Always,
    Condition,
    Domain,
    DomainKeyword,
    DomainRegex,
    DomainSuffix,
    Network,
    Not,
    ProcessName,
    ProcessPath,
    Ranges,
    RuleSet,
    Some,
    SourceAddresses,
    SourcePort,
    TargetPort,
    Uid,
)
from tunflow.rules.domains import normalise
from tunflow.rules.expression_syntax import NotKept

NO_RESOLVE = "no-resolve"
_DEEPEST = 16
"""Conditions within conditions: more is a mistake."""

_PORTS = 65535
_UIDS = 2**32 - 1

PRIVATE = CIDRSet(
    (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "255.255.255.255/32"),
        *("::/127", "fc00::/7", "fe80::/10", "ff00::/8"),
    )
)
"""What Clash calls the country LAN: addresses that are nobody's on the Internet (RFC 6890)."""

CountryAddresses = Callable[[str], AddressTest]
"""Country code -> its addresses. Raises LocalError when there is no data, or no such country."""


class Line(NamedTuple):
    """A rule's text and where it stands."""

    text: str
    file: str
    number: int

    def error(self, why: str) -> LocalError:
        """What is wrong with it, in one line."""
        return LocalError(f"{self.file}:{self.number}: {' '.join(why.split())}, in {self.text[:200]!r}")


class Rule(NamedTuple):
    """A condition and where the flows go for which it holds."""

    condition: Condition
    target: str
    line: Line


class Context(NamedTuple):
    """What rules may refer to."""

    rule_sets: Mapping[str, RuleSet]
    countries: CountryAddresses


def no_countries(code: str) -> AddressTest:
    """A context without country data. Raises LocalError."""
    raise LocalError(f"there is no country data for {code}: run tunflow rules update")


EMPTY = Context({}, no_countries)


def parse_rules(lines: Iterable[str], file: str, context: Context = EMPTY, first_line: int = 1) -> Iterator[Rule]:
    """The rules of a list, one a line; empty lines and comments are passed over. Raises LocalError."""
    for number, text in enumerate(lines, first_line):
        if not is_comment(text):
            yield parse_rule(Line(text.strip(), file, number), context)


def is_comment(text: str) -> bool:
    """Whether a line says nothing."""
    text = text.lstrip()
    return not text or text[0] in "#;" or text.startswith("//")


class RuleText(NamedTuple):
    """A rule cut into its parts, none of them checked."""

    kind: str
    """In upper case."""
    value: str
    target: str
    options: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The rule as people write it."""
        return ",".join(part for part in (self.kind, self.value, self.target, *self.options) if part)


def cut_rule(text: str) -> RuleText:
    """The parts of a rule. Raises ValueError where it has too few of them."""
    kind, _, rest = text.partition(",")
    kind = kind.strip().upper()
    if kind in {"MATCH", "FINAL"}:
        target, *options = [field.strip() for field in rest.split(",")]
        return RuleText(kind, "", target, tuple(options))
    if kind in _LOGIC:
        value, fields = _bracketed(rest)
    elif kind in _HOLDS_COMMAS:
        value, _, target = rest.rpartition(",")
        fields = [target.strip()]
    else:
        value, *fields = [field.strip() for field in rest.split(",")]
    if not fields or not fields[0]:
        raise ValueError(f"a rule is {kind or 'TYPE'},VALUE,TARGET or {kind or 'TYPE'},VALUE,TARGET,{NO_RESOLVE}")
    return RuleText(kind, value.strip(), fields[0], tuple(fields[1:]))


def _bracketed(text: str) -> tuple[str, list[str]]:
    """What stands in brackets at the beginning, and the fields behind."""
    depth = 0
    for at, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if character == ")" and depth <= 0:
            rest = text[at + 1 :].strip()
            return text[: at + 1].strip(), [field.strip() for field in rest.removeprefix(",").split(",")]
    value, _, target = text.rpartition(",")
    return value, [target.strip()]


def parse_rule(line: Line, context: Context = EMPTY) -> Rule:
    """One rule. Raises LocalError."""
    try:
        kind, _, rest = line.text.partition(",")
        simple = _SIMPLE.get(kind)
        if simple is not None and rest.count(",") == 1 and kind not in _HOLDS_COMMAS:  # most of a long list
            value, _, target = rest.partition(",")
            return Rule(simple(value.strip()), _target(target.strip()), line)
        parts = cut_rule(line.text)
        resolve = _check_options(parts)
        if parts.kind in {"MATCH", "FINAL"}:
            return Rule(Always(), _target(parts.target), line)
        return Rule(_condition(parts.kind, parts.value, resolve, context, 0), _target(parts.target), line)
    except (ValueError, LocalError) as error:
        raise line.error(str(error)) from error


def _check_options(parts: RuleText) -> bool:
    """Whether addresses may be looked up for a rule. Raises ValueError for an option that we do not have."""
    for option in parts.options:
        if option.lower() != NO_RESOLVE:
            raise ValueError(f"{option!r} is not an option; {NO_RESOLVE} is")
    return not parts.options


def parse_condition(line: Line, context: Context = EMPTY) -> Condition:
    """A rule without a target, as rule sets of the behavior `classical` hold them. Raises LocalError."""
    try:
        return _bare_condition(line.text, context, 0)
    except (ValueError, LocalError) as error:
        raise line.error(str(error)) from error


def _bare_condition(text: str, context: Context, depth: int) -> Condition:
    kind, _, value = text.partition(",")
    kind, resolve = kind.strip().upper(), True
    if kind not in _LOGIC and kind != "DOMAIN-REGEX":
        value, _, option = value.partition(",")
        if option and option.strip().lower() != NO_RESOLVE:
            raise ValueError(f"{option.strip()!r} is not an option; {NO_RESOLVE} is")
        resolve = not option
    return _condition(kind, value.strip(), resolve, context, depth)


def _target(text: str) -> str:
    if not text or "," in text:
        raise ValueError("a rule ends with its target: a server, a group, DIRECT, REJECT or REJECT-DROP")
    return text


def _condition(kind: str, value: str, resolve: bool, context: Context, depth: int) -> Condition:
    simple = _SIMPLE.get(kind)
    if simple is not None:
        return simple(value)
    if kind in {"IP-CIDR", "IP-CIDR6"}:
        return Addresses(CIDRSet([value]), resolve)
    if kind == "GEOIP":
        return Addresses(PRIVATE if value.upper() == "LAN" else context.countries(value.upper()), resolve)
    if kind == "RULE-SET":
        found = context.rule_sets.get(value)
        if found is None:
            known = ", ".join(context.rule_sets) or "none"
            raise ValueError(f"there is no rule set {value!r}; there are: {known}")
        return found if resolve else found.without_resolving()
    if kind in _LOGIC:
        if depth >= _DEEPEST:
            raise ValueError(f"conditions are nested deeper than {_DEEPEST}")
        inner = tuple(_bare_condition(text, context, depth + 1) for text in _groups(value))
        if kind == "NOT":
            if len(inner) != 1:
                raise ValueError("NOT takes one condition, as NOT,((DOMAIN,example.com)),TARGET")
            return Not(inner[0])
        return All(inner) if kind == "AND" else Some(inner)
    raise ValueError(f"{kind!r} is not a rule type; {', '.join(TYPES)} are")


def _groups(text: str) -> Iterator[str]:
    """`((A,b),(C,d))` -> `A,b` and `C,d`."""
    text = text.strip()
    if not (text.startswith("(") and text.endswith(")")):
        raise ValueError("AND, OR and NOT take conditions in brackets, as AND,((NETWORK,udp),(DST-PORT,443)),TARGET")
    depth, start, found = 0, 0, False
    for at, character in enumerate(text[1:-1], 1):
        if character == "(":
            start = at + 1 if depth == 0 else start
            depth += 1
        elif character == ")":
            depth -= 1
            if depth < 0:
                break
            if depth == 0:
                found = True
                yield text[start:at]
        elif depth == 0 and character not in ", ":
            raise ValueError(f"{character!r} stands between conditions; each is in brackets of its own")
    if depth or not found:
        raise ValueError("the brackets do not match" if depth else "there is no condition in the brackets")


def _ranges(value: str, largest: int) -> Ranges:
    spans: list[tuple[int, int]] = []
    for part in value.split("/"):
        first, separator, last = part.partition("-")
        if not first.isdecimal() or (separator and not last.isdecimal()):
            raise ValueError(f"{part!r} is not a number or range; 80, 8000-8100 and 80/443 are")
        try:
            spans.append((whole_number(first, largest), whole_number(last or first, largest)))
        except NotANumber:
            raise ValueError(f"{part!r} is not a range within 0-{largest}") from None
        if spans[-1][0] > spans[-1][1]:
            raise ValueError(f"{part!r} is not a range within 0-{largest}")
    return Ranges(tuple(spans))


def _network(value: str) -> Network:
    if value.lower() not in {"tcp", "udp"}:
        raise ValueError(f"{value!r} is not a network; tcp and udp are")
    return Network(value.lower())


def _regex(value: str) -> DomainRegex:
    try:
        return DomainRegex(value)
    except NotKept as error:
        raise ValueError(f"a regular expression cannot be kept with {error}: it could take for ever") from error
    except ValueError as error:
        raise ValueError(f"not a regular expression: {error}") from error


def _keyword(value: str) -> DomainKeyword:
    if not value or not value.isascii():
        raise ValueError("a keyword is at least one ASCII character")
    return DomainKeyword(value.lower())


def _program(value: str) -> str:
    if not value:
        raise ValueError("no program is named")
    return value


_LOGIC = frozenset({"AND", "OR", "NOT"})
_HOLDS_COMMAS = frozenset({"DOMAIN-REGEX"})
"""Kinds whose value may have commas."""

_SIMPLE: dict[str, Callable[[str], Condition]] = {
    "DOMAIN": lambda value: Domain(normalise(value)),
    "DOMAIN-SUFFIX": lambda value: DomainSuffix(normalise(value.removeprefix("."))),
    "DOMAIN-KEYWORD": _keyword,
    "DOMAIN-REGEX": _regex,
    "SRC-IP-CIDR": lambda value: SourceAddresses(CIDRSet([value])),
    "DST-PORT": lambda value: TargetPort(_ranges(value, _PORTS)),
    "SRC-PORT": lambda value: SourcePort(_ranges(value, _PORTS)),
    "NETWORK": _network,
    "PROCESS-NAME": lambda value: ProcessName(_program(value)),
    "PROCESS-PATH": lambda value: ProcessPath(_program(value)),
    "UID": lambda value: Uid(_ranges(value, _UIDS)),
}

TYPES = (*_SIMPLE, "IP-CIDR", "IP-CIDR6", "GEOIP", "RULE-SET", *sorted(_LOGIC), "MATCH")
"""What a rule may begin with."""
