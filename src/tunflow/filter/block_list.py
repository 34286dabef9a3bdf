"""A block list in memory: names and URLs to the line that decides.

What is kept of a rule is its name or pattern and one integer: strength and line number. 300,000 names cost some 50 MB.
The text of a line is read again from its file when somebody wants to see it.

Precedence, as users know it from Adblock: an important rule beats an exception, which beats a block; among equals
the more special rule (the longer name) comes first.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, KeysView, Sequence
from typing import NamedTuple

from tunflow.filter.conditional_rules import ConditionalRules
from tunflow.filter.conditions import Audience
from tunflow.filter.directives import Directives
from tunflow.filter.list_line import (
    EXCEPT,
    IMPORTANT,
    LONGEST_LINE,
    PAGES,
    TOO_LONG_LINE,
    Cancelled,
    ConditionalRule,
    DomainRule,
    Dotted,
    Line,
    Unsupported,
    URLRule,
    name_of,
    parse_line,
    pattern_of,
)
from tunflow.filter.text_index import TextIndex
from tunflow.filter.url_rules import URLRules
from tunflow.filter.wildcard import URLText
from tunflow.rules.domains import LONGEST_NAME, suffixes
from tunflow.rules.expression import Allowance
from tunflow.rules.expression_syntax import NotKept

_ITSELF = 4
_BELOW = 8
_LINE_SHIFT = 4
_SAYS = (1 << _LINE_SHIFT) - 1
_is_plain_line = re.compile(
    r"\s*(?:\|\|((?!-)(?:[a-z0-9-]{1,63}\.)*[a-z0-9-]{0,62}[a-z])\^|((?!-)(?:[a-z0-9-]{1,63}\.)+[a-z0-9-]{0,62}[a-z]))\s*"
).fullmatch
"""`||name^`, or a bare name in lower case; neither ends in a digit, for addresses have other spellings."""
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
    audience: Audience | None = None
    """The clients that it is for; None for all."""


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
        self.not_kept: Counter[str] = Counter()
        """Rules that are understood and cannot be kept here, by the reason."""
        self.complaints: list[Complaint] = []
        """The first broken lines."""
        self.readings: list[str] = []
        """How lines are read that mean this or that by what most others of the list are, in words."""
        self.conditional = ConditionalRules()
        """Rules that depend on more than names and URLs, of which `find` says nothing."""
        _Reader(self._names, self._more, self._urls, self).read(lines)
        self.has_urls = len(self._urls) > 0 or self.conditional.has_urls
        """True if it has rules about URLs."""
        self.has_audiences = self.conditional.has_audiences
        """True if some of its rules are for some clients only."""

    def __len__(self) -> int:
        return (
            sum(map(bool, self._names.values()))
            + sum(map(len, self._more.values()))
            + len(self._urls)
            + len(self.conditional)
        )

    @property
    def unsupported(self) -> int:
        """How many rules are not kept."""
        return self.not_kept.total()

    def complain(self, line: int, why: str, text: str) -> None:
        """Count a broken line."""
        self.broken += 1
        if len(self.complaints) < MAX_COMPLAINTS:
            self.complaints.append(Complaint(line, why, text.strip()[:120]))

    @property
    def names(self) -> KeysView[str] | None:
        """Those that its rules are about: where a URL lies below none of them, and none of its texts stands there, it
        says nothing. None where there are rules that are tried on every URL."""
        return None if self._urls.tries_all or self.has_audiences else self._names.keys()

    @property
    def demanded(self) -> KeysView[str]:
        """The texts of which one stands in each URL that its other rules are about."""
        return self._urls.demanded

    @property
    def texts(self) -> TextIndex:
        """What it looks for in URLs: `find_text` is told which of it stands there."""
        return self._urls.texts

    def find(self, host: str, url: str | None = None) -> Finding | None:
        """What the list says of a host (in normal form), or of a whole URL of it, path and all; None for nothing.

        Raises OutOfAllowance when an answer would cost more than `STEPS`.
        """
        text, allowance = URLText(url or f"http://{host}/"), Allowance(STEPS)
        return self.find_text([*suffixes(host)], text, self.texts.standing(text.small, allowance), allowance)

    def find_text(
        self, names: Sequence[str], url: URLText, standing: Collection[str], allowance: Allowance
    ) -> Finding | None:
        """The same for one who asks several lists. `names` are the host and those that it lies below, `standing` the
        texts of all lists that stand in the URL.

        Raises OutOfAllowance when that costs more than there is left.
        """
        best: Finding | None = None
        hosts: list[str] = []
        seen = _ITSELF
        for name in names:
            value = self._names.get(name)
            if value is not None:
                hosts.append(name)
                best = _stronger(best, value, seen)
                for other in self._more.get(name, ()):
                    best = _stronger(best, other, seen)
            seen = _BELOW
        if self.has_urls and (hosts or standing or self._urls.tries_all):
            for filed in self._urls.matching(names[0], url, hosts, standing, allowance):
                if best is None or filed.strength > best.strength:
                    best = Finding(not filed.strength & EXCEPT, filed.where, filed.strength)
        return best


class _Reader:
    """Reads a list's lines. What some mean hangs on what most others are, so these wait for the last one: a line that
    somebody adds to a list changes the meaning of no other."""

    def __init__(
        self, names: dict[str, int], more: dict[str, list[int]], urls: URLRules, complaints: BlockList
    ) -> None:
        self._names = names
        self._more = more
        self._urls = urls
        self._list = complaints
        self._directives: Directives | None = None
        self._dotted: list[tuple[int, Dotted]] = []
        self._cancelled: list[DomainRule | URLRule | ConditionalRule] = []
        self._starred: list[str] = []
        """The names of lines `*.name`."""
        self._others = 0
        """How many rules have another shape."""
        self._for_browsers = 0
        """How many lines show that they are written for blockers in browsers."""
        self._has_head = False
        """True if the list says so itself."""

    def read(self, lines: Iterable[str]) -> None:
        """All lines, and then what waits for the last one."""
        names = self._names
        for number, text in enumerate(lines, 1):
            plain = _plain_domain(text) if self._directives is None else None
            if plain is not None and not names.get(plain):
                names[plain] = number << _LINE_SHIFT | _ITSELF | _BELOW
                self._others += 1
                self._for_browsers += text[0] == "|"
            elif text.startswith("!") or self._directives is not None:
                self._directed(number, text)
            else:
                self._line(number, text)
        is_adblock = self._has_head or (
            self._for_browsers > 0 and self._for_browsers >= len(self._dotted) + len(self._starred)
        )
        stars_are_few = is_adblock or len(self._starred) <= self._others
        for number, dotted in self._dotted:
            self._rule(number, pattern_of(dotted) if is_adblock else name_of(dotted), dotted.text)
        if self._dotted:
            self._tell(len(self._dotted), ".name", "a part of URLs" if is_adblock else "the name and all below it")
        self._cancel()
        if self._starred:
            self._read_starred(only_below=stars_are_few)
        self._list.not_kept += self._urls.close()
        conditional = self._list.conditional.close()
        if conditional:
            self._list.not_kept["a regular expression with conditions that cannot be kept beside the others"] += (
                conditional
            )

    def _read_starred(self, *, only_below: bool) -> None:
        """`*.name` is the name, too, where most lines of a list are such: its author has no other form for that."""
        if not only_below:
            for name in self._starred:
                if self._names[name] & _BELOW:
                    self._names[name] |= _ITSELF
        what = "what is below the name, not the name" if only_below else "the name and all below it"
        self._tell(len(self._starred), "*.name", what)

    def _tell(self, count: int, shape: str, what: str) -> None:
        self._list.readings.append(f"{count:>9,} like {shape}: read as {what}")

    def _directed(self, number: int, text: str) -> None:
        """A line of a list that has directives, or the first of them."""
        if text.startswith(("!#", "!+")) and len(text) <= LONGEST_LINE:
            self._directives = self._directives or Directives()
            try:
                why = self._directives.read(text.strip())
            except ValueError as error:
                self._list.complain(number, str(error), text)
            else:
                if why is not None:
                    self._list.not_kept[why] += 1
        elif text.startswith(("!#", "!+")):
            self._list.complain(number, TOO_LONG_LINE, text)
        elif self._directives is not None and not text.startswith("!") and text.strip():
            reason = self._directives.reason()
            if reason is None:
                self._line(number, text)
            else:
                self._list.not_kept[reason] += len(parse_line(text))

    def _line(self, number: int, text: str) -> None:
        self._for_browsers += text.startswith(("||", "@@"))
        self._has_head |= text.startswith("[Adblock")
        for rule in parse_line(text):
            self._rule(number, rule, text)

    def _rule(self, number: int, rule: Line, text: str) -> None:
        if isinstance(rule, DomainRule):
            if rule.itself or text.lstrip()[:2] != "*.":
                self._others += 1
            else:
                self._starred.append(rule.name)
            value = number << _LINE_SHIFT | rule.strength | _ITSELF * rule.itself | _BELOW * rule.below
            before = self._names.get(rule.name)
            if not before:
                self._names[rule.name] = value
                return
            more = self._more.setdefault(rule.name, [])
            if all((each ^ value) & _SAYS for each in (before, *more)):
                more.append(value)  # whoever says the same again adds nothing, and would cost each time
            return
        self._others += isinstance(rule, URLRule | Dotted | ConditionalRule)
        if isinstance(rule, URLRule):
            try:
                host = self._urls.add(rule, number)
            except NotKept as error:
                self._list.not_kept[f"a regular expression with {error}"] += 1
                return
            if host is not None:
                self._names.setdefault(host, 0)
        elif isinstance(rule, Dotted):
            self._dotted.append((number, rule))
        elif isinstance(rule, ConditionalRule):
            self._list.conditional.add(rule, number)
        elif isinstance(rule, Cancelled):
            self._cancelled.append(rule.rule)
        elif isinstance(rule, Unsupported):
            self._list.not_kept[rule.why] += 1
            self._for_browsers += rule.why == PAGES
        else:
            self._list.complain(number, rule.why, text)

    def _cancel(self) -> None:
        """Forget what `$badfilter` names: all at once, for each look at all rules takes its time."""
        if not self._cancelled:
            return
        self._list.conditional.remove([rule for rule in self._cancelled if isinstance(rule, ConditionalRule)])
        self._urls.remove([rule for rule in self._cancelled if isinstance(rule, URLRule)])
        for rule in self._cancelled:
            if isinstance(rule, DomainRule):
                self._cancel_name(rule)

    def _cancel_name(self, rule: DomainRule) -> None:
        wanted = rule.strength | _ITSELF * rule.itself | _BELOW * rule.below
        values = [value for value in (self._names.get(rule.name, 0), *self._more.pop(rule.name, ())) if value]
        first, *more = [value for value in values if value & _SAYS != wanted] or [0]
        if rule.name in self._names:
            self._names[rule.name] = first
        if more:
            self._more[rule.name] = more


def _stronger(best: Finding | None, value: int, seen: int) -> Finding | None:
    """`seen`: whether the name itself was asked for, or one below it."""
    if not value & seen:
        return best
    strength = value & (EXCEPT | IMPORTANT)
    if best is not None and strength <= best.strength:
        return best
    return Finding(not strength & EXCEPT, value >> _LINE_SHIFT, strength)


def _plain_domain(text: str) -> str | None:
    """The name of `||name^` and of a bare lower-case name, which is what nearly all lines are; None for all others."""
    found = _is_plain_line(text)
    if found is None:
        return None
    name: str = found[found.lastindex or 1]
    return name if len(name) <= LONGEST_NAME else None
