"""A block list in memory: names and URLs to the line that decides.

What is kept of a rule is its name or pattern and one integer: strength and line number. 300,000 names cost some 50 MB.
The text of a line is read again from its file when somebody wants to see it.

Precedence, as users know it from Adblock: an important rule beats an exception, which beats a block; among equals
the more special rule (the longer name) comes first.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tunflow.filter.list_line import EXCEPT, IMPORTANT, Broken, DomainRule, Unsupported, URLRule, parse_line
from tunflow.filter.url_rules import URLRules
from tunflow.rules.domains import normalise
from tunflow.rules.expression import Allowance
from tunflow.rules.expression_syntax import NotKept

_ITSELF = 4
_BELOW = 8
_LINE_SHIFT = 4
_NAME_CHARACTERS = {ord(character): None for character in "abcdefghijklmnopqrstuvwxyz0123456789-."}
STEPS = 12_000
"""What the judgement of one URL may cost, all lists together, in the steps of an `Allowance`: half a millisecond."""
MAX_COMPLAINTS = 100
"""Lines shown of those that are broken; all are counted."""


class Finding(NamedTuple):
    """The rule that decides about a flow."""

    blocked: bool
    line: int
    """The line of the list, from 1."""
    strength: int


class Complaint(NamedTuple):
    """A line that cannot be used."""

    line: int
    why: str
    text: str


class BlockList:
    """One list, read once; immutable afterwards."""

    def __init__(self, name: str, lines: Iterable[str]) -> None:
        self.name = name
        self._names: dict[str, int] = {}
        """Also those that only have rules about URLs, as 0: a name is looked for once."""
        self._more: dict[str, list[int]] = {}
        """Further rules for a name that has one already."""
        self._urls = URLRules()
        self.broken = 0
        self.unsupported = 0
        self.complaints: list[Complaint] = []
        """The first broken lines."""
        self._read(lines)
        self.has_urls = len(self._urls) > 0
        """Whether it has rules about URLs."""

    def __len__(self) -> int:
        return sum(map(bool, self._names.values())) + sum(map(len, self._more.values())) + len(self._urls)

    def find(self, host: str, url: str | None = None, allowance: Allowance | None = None) -> Finding | None:
        """What the list says of a host (in normal form), or of a whole URL of it, path and all; None for nothing.

        Raises OutOfAllowance when an answer would cost more than `allowance` has left, or than `STEPS` without one.
        """
        best: Finding | None = None
        hosts = []
        name, seen = host, _ITSELF
        get = self._names.get
        while True:
            value = get(name)
            if value is not None:
                hosts.append(name)
                best = _stronger(best, value, seen)
                for other in self._more.get(name, ()):
                    best = _stronger(best, other, seen)
            at = name.find(".") + 1
            if not at:
                break
            name, seen = name[at:], _BELOW
        if self.has_urls:
            allowance = Allowance(STEPS) if allowance is None else allowance
            for filed in self._urls.matching(url or f"http://{host}/", hosts, allowance):
                best = _better(best, Finding(not filed.strength & EXCEPT, filed.where, filed.strength))
        return best

    def _read(self, lines: Iterable[str]) -> None:
        names = self._names
        for number, text in enumerate(lines, 1):
            plain = _plain_domain(text)
            if plain is not None and not names.get(plain):
                names[plain] = number << _LINE_SHIFT | _ITSELF | _BELOW
                continue
            for rule in parse_line(text):
                if isinstance(rule, DomainRule):
                    self._add(rule, number)
                elif isinstance(rule, URLRule):
                    self._add_url(rule, number)
                elif isinstance(rule, Unsupported):
                    self.unsupported += 1
                elif isinstance(rule, Broken):
                    self.broken += 1
                    if len(self.complaints) < MAX_COMPLAINTS:
                        self.complaints.append(Complaint(number, rule.why, text.strip()[:120]))

    def _add_url(self, rule: URLRule, number: int) -> None:
        try:
            host = self._urls.add(rule, number)
        except NotKept:
            self.unsupported += 1
            return
        if host is not None:
            self._names.setdefault(host, 0)

    def _add(self, rule: DomainRule, number: int) -> None:
        value = number << _LINE_SHIFT | rule.strength | _ITSELF * rule.itself | _BELOW * rule.below
        if self._names.get(rule.name):
            self._more.setdefault(rule.name, []).append(value)
        else:
            self._names[rule.name] = value


def _stronger(best: Finding | None, value: int, seen: int) -> Finding | None:
    """`seen`: whether the name itself was asked for, or one below it."""
    if not value & seen:
        return best
    strength = value & (EXCEPT | IMPORTANT)
    return _better(best, Finding(not strength & EXCEPT, value >> _LINE_SHIFT, strength))


def _better(best: Finding | None, other: Finding) -> Finding:
    return other if best is None or other.strength > best.strength else best


def _plain_domain(text: str) -> str | None:
    """The name of `||name^` and of a bare lower-case name, which is what nearly all lines are; None for all others."""
    text = text.strip()
    if text.startswith("||") and text.endswith("^"):
        text = text[2:-1]
    elif "." not in text:
        return None
    # Letters, digits, hyphens and dots only, checked by what is left without them.
    if not text or text.translate(_NAME_CHARACTERS) or text[0] in ".-" or text[-1].isdigit():
        return None
    try:
        return normalise(text)
    except ValueError:
        return None
