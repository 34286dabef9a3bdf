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
from tunflow.rules.cidr import CIDRSet
from tunflow.rules.conditions import (
    Addresses,
    AddressTest,
    All,
    Always,
    Condition,
    DomainTest,
    Not,
    RuleSet,
    Some,
    SourceAddresses,
)
from tunflow.rules.values import SIMPLE, suffix_of

NO_RESOLVE = "no-resolve"
SOURCE = "src"
"""Behind a rule on addresses: the client's is meant."""
_WITHOUT_EFFECT = frozenset({"extended-matching", "pre-matching", "dns-failed"})
"""Surge's words for what is done anyway: names are taken out of first bytes, no rule waits for a connection, and what
has no address comes to the last rule."""
_DEEPEST = 16
"""Conditions within conditions: more is a mistake."""

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


class RuleLine(NamedTuple):
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
    line: RuleLine


class MissingData(LocalError):
    """Data that rules are about is not on this machine; the error names the command that fetches it."""


def no_countries(code: str) -> AddressTest:
    """A context without country data. Raises MissingData."""
    raise MissingData(f"there is no country data for {code}: run tunflow rules update")


def no_sites(topic: str) -> DomainTest:
    """A context without names by topic. Raises MissingData."""
    raise MissingData(f'there are no names for GEOSITE,{topic}: give the file as geosite = "geosite.dat"')


def no_operators(number: str) -> AddressTest:
    """A context without operators' addresses. Raises MissingData."""
    raise MissingData(f'there are no addresses for IP-ASN,{number}: give the database as asn = "asn.mmdb"')


class Context(NamedTuple):
    """What rules may refer to."""

    rule_sets: Mapping[str, RuleSet]
    countries: CountryAddresses
    sites: Callable[[str], DomainTest] = no_sites
    """A topic of names (GEOSITE) -> its names. Raises LocalError."""
    operators: Callable[[str], AddressTest] = no_operators
    """A number of an autonomous system (IP-ASN) -> its addresses. Raises LocalError."""


EMPTY = Context({}, no_countries)


def is_comment(text: str) -> bool:
    """Return True if a line says nothing."""
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


def parse_rule(line: RuleLine, context: Context = EMPTY) -> Rule:
    """One rule. Raises LocalError."""
    try:
        kind, _, rest = line.text.partition(",")
        simple = SIMPLE.get(kind)
        if simple is not None and rest.count(",") == 1 and kind not in _HOLDS_COMMAS:  # most of a long list
            value, _, target = rest.partition(",")
            return Rule(simple(value.strip()), _target(target.strip()), line)
        parts = cut_rule(line.text)
        options = _check_options(parts.options)
        if parts.kind in {"MATCH", "FINAL"}:
            return Rule(Always(), _target(parts.target), line)
        return Rule(_condition(parts.kind, parts.value, options, context, 0), _target(parts.target), line)
    except MissingData as error:
        raise MissingData(str(line.error(str(error)))) from error
    except (ValueError, LocalError) as error:
        raise line.error(str(error)) from error


def _check_options(options: Iterable[str]) -> frozenset[str]:
    """The options that change what a rule is about. Raises ValueError for one that we do not have."""
    given = frozenset(option.lower() for option in options)
    for option in given - {NO_RESOLVE, SOURCE} - _WITHOUT_EFFECT:
        raise ValueError(f"{option!r} is not an option; {NO_RESOLVE} and {SOURCE} are")
    return given - _WITHOUT_EFFECT


def parse_condition(line: RuleLine, context: Context = EMPTY) -> Condition:
    """A rule without a target, as rule sets of the behavior `classical` hold them. Raises LocalError."""
    try:
        return _bare_condition(line.text, context, 0)
    except MissingData as error:
        raise MissingData(str(line.error(str(error)))) from error
    except (ValueError, LocalError) as error:
        raise line.error(str(error)) from error


def _bare_condition(text: str, context: Context, depth: int) -> Condition:
    kind, _, value = text.partition(",")
    kind, options = kind.strip().upper(), []
    if kind not in _LOGIC and kind not in _HOLDS_COMMAS:
        value, *options = [field.strip() for field in value.split(",")]
    return _condition(kind, value.strip(), _check_options(options), context, depth)


def _target(text: str) -> str:
    if not text or "," in text:
        raise ValueError("a rule ends with its target: a server, a group, DIRECT, REJECT or REJECT-DROP")
    return text


def _condition(kind: str, value: str, options: frozenset[str], context: Context, depth: int) -> Condition:
    simple = SIMPLE.get(kind)
    if simple is not None:
        return simple(value)
    if not value and kind in TYPES:
        raise ValueError(f"{kind} needs a value: what it is about stands behind the comma")
    if kind in _OF_CLIENT:
        kind, options = kind.removeprefix("SRC-"), options | {SOURCE}
    if (addresses := _addresses(kind, value, context)) is not None:
        return SourceAddresses(addresses) if SOURCE in options else Addresses(addresses, NO_RESOLVE not in options)
    if kind == "GEOSITE":
        return context.sites(value.lower())
    if kind == "RULE-SET":
        found = context.rule_sets.get(value)
        if found is None:
            known = ", ".join(context.rule_sets) or "none"
            raise ValueError(f"there is no rule set {value!r}; there are: {known}")
        return found.without_resolving() if NO_RESOLVE in options else found
    if kind in _LOGIC:
        return _combined(kind, value, context, depth)
    if kind in ELSEWHERE:
        raise ValueError(f"{kind} {ELSEWHERE[kind]}")
    raise ValueError(f"{kind!r} is not a rule type; {', '.join(TYPES)} are")


def _addresses(kind: str, value: str, context: Context) -> AddressTest | None:
    """The addresses that a rule is about; None for a rule that is not about addresses."""
    if kind in {"IP-CIDR", "IP-CIDR6"}:
        return CIDRSet([value])
    if kind == "IP-SUFFIX":
        return suffix_of(value)
    if kind == "GEOIP":
        return PRIVATE if value.upper() in {"LAN", "PRIVATE"} else context.countries(value.upper())
    if kind == "IP-ASN":
        if not value.removeprefix("AS").isdecimal():
            raise ValueError(f"{value!r} is not the number of an autonomous system; 13335 is")
        return context.operators(value.removeprefix("AS"))
    return None


def _combined(kind: str, value: str, context: Context, depth: int) -> Condition:
    if depth >= _DEEPEST:
        raise ValueError(f"conditions are nested deeper than {_DEEPEST}")
    inner = tuple(_bare_condition(text, context, depth + 1) for text in _groups(value))
    if kind == "NOT":
        if len(inner) != 1:
            raise ValueError("NOT takes one condition, as NOT,((DOMAIN,example.com)),TARGET")
        return Not(inner[0])
    return All(inner) if kind == "AND" else Some(inner)


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


_OF_CLIENT = frozenset({"SRC-GEOIP", "SRC-IP-ASN", "SRC-IP-SUFFIX"})
"""The same as without SRC- about the client's address."""
_LOGIC = frozenset({"AND", "OR", "NOT"})
_HOLDS_COMMAS = frozenset({"DOMAIN-REGEX", "PROCESS-NAME-REGEX", "PROCESS-PATH-REGEX"})
"""Kinds whose value may have commas."""

TYPES = (
    *SIMPLE,
    "IP-CIDR",
    "IP-CIDR6",
    "IP-SUFFIX",
    "IP-ASN",
    "GEOIP",
    *sorted(_OF_CLIENT),
    "GEOSITE",
    "RULE-SET",
    *sorted(_LOGIC),
    "MATCH",
)
"""What a rule may begin with."""

ELSEWHERE = {
    "USER-AGENT": "is about what is encrypted here: a filter list or the program's name (PROCESS-NAME) may do",
    "URL-REGEX": "is about what is encrypted here: DOMAIN-REGEX is about the name",
    "SUBNET": "is about the network that the machine is in: on_demand in the profile is",
    "DEVICE-NAME": "is about devices behind a router that has names for them: SRC-IP-CIDR is about their addresses",
    "SRC-MAC": "is about devices in the same network: SRC-IP-CIDR is about their addresses",
    "IN-TYPE": "never holds: all flows come out of a TUN device",
    "IN-PORT": "never holds: all flows come out of a TUN device, by no port of ours",
    "IN-USER": "never holds: all flows come out of a TUN device, without a user's name",
    "IN-NAME": "never holds: all flows come out of a TUN device, by no listener",
    "DSCP": "is about a mark that flows here do not keep",
    "HOSTNAME-TYPE": "is not there: IP-CIDR and DOMAIN-REGEX tell names and addresses apart",
}
"""Types of other programs that there are not here, and why, or what does the same."""
