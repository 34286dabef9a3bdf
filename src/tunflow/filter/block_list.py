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

_ITSELF = 4
_BELOW = 8
_LINE_SHIFT = 4
_NAME_CHARACTERS = {ord(character): None for character in "abcdefghijklmnopqrstuvwxyz0123456789-."}
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
        self._more: dict[str, list[int]] = {}
        """Further rules for a name that has one already."""
        self._urls = URLRules()
        self.broken = 0
        self.unsupported = 0
        self.complaints: list[Complaint] = []
        """The first broken lines."""
        self._read(lines)

    def __len__(self) -> int:
        return len(self._names) + sum(map(len, self._more.values())) + len(self._urls)

    def find(self, host: str, url: str | None = None) -> Finding | None:
        """What the list says of a host (in normal form), or of a whole URL of it; None for nothing."""
        best: Finding | None = None
        name, below = host, False
        names = self._names
        while True:
            value = names.get(name)
            if value is not None:
                best = self._stronger(best, value, below)
                for other in self._more.get(name, ()):
                    best = self._stronger(best, other, below)
            at = name.find(".")
            if at < 0:
                break
            name, below = name[at + 1 :], True
        if len(self._urls):
            for filed in self._urls.matching(url or f"http://{host}/"):
                best = _better(best, Finding(not filed.rule.strength & EXCEPT, filed.where, filed.rule.strength))
        return best

    def _stronger(self, best: Finding | None, value: int, below: bool) -> Finding | None:
        if not value & (_BELOW if below else _ITSELF):
            return best
        strength = value & (EXCEPT | IMPORTANT)
        return _better(best, Finding(not strength & EXCEPT, value >> _LINE_SHIFT, strength))

    def _read(self, lines: Iterable[str]) -> None:
        names = self._names
        for number, text in enumerate(lines, 1):
            plain = _plain_domain(text)
            if plain is not None and plain not in names:
                names[plain] = number << _LINE_SHIFT | _ITSELF | _BELOW
                continue
            for rule in parse_line(text):
                if isinstance(rule, DomainRule):
                    self._add(rule, number)
                elif isinstance(rule, URLRule):
                    self._urls.add(rule, number)
                elif isinstance(rule, Unsupported):
                    self.unsupported += 1
                elif isinstance(rule, Broken):
                    self.broken += 1
                    if len(self.complaints) < MAX_COMPLAINTS:
                        self.complaints.append(Complaint(number, rule.why, text.strip()[:120]))

    def _add(self, rule: DomainRule, number: int) -> None:
        value = number << _LINE_SHIFT | rule.strength | _ITSELF * rule.itself | _BELOW * rule.below
        if rule.name in self._names:
            self._more.setdefault(rule.name, []).append(value)
        else:
            self._names[rule.name] = value


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
