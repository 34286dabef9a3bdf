"""Rules about URLs, found without trying them all.

- A rule about one host (`||example.com/path`) is filed under that host, and tried on the path alone. Whoever asks has
  a table of names anyway, and says which of these hosts a URL lies below.
- Another has a text that stands in all that it holds for: whoever asks says which texts stand in the URL, by an index
  (`text_index`) of this list's or of several lists' texts.
- A regular expression has one such text, or several of which one must stand there. Those that demand none are tried
  together, as one automaton, and one by one only where that finds something. They are tried on the URL and on the bare
  name of the host, which is what lists for name servers write them for.

Whoever asks says what an answer may cost: a page chooses its URLs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, KeysView, Sequence
from typing import NamedTuple, TypeAlias

from tunflow.filter.list_line import URLRule
from tunflow.filter.text_index import Text, TextIndex, share_of
from tunflow.filter.wildcard import URLText, holds
from tunflow.rules.domains import suffixes
from tunflow.rules.expression import Allowance, Automaton
from tunflow.rules.expression_syntax import Node, NotKept, parse_expression
from tunflow.rules.expression_text import DemandedText, demands_of

_LOOK, _LOOKED = 2, 4
"""What looking for a rule's text costs, in the steps of an `Allowance`, and the logarithm of characters in one step."""
_TRIED = 120
"""What a regular expression costs, whatever it is compared with."""
_FOUND = 24
"""What a rule costs that holds for a URL, until it is known whether it decides."""
LARGEST_TOGETHER = 4000
"""Characters of all regular expressions of a list that demand no text, together."""
LARGEST_FILED = 100_000
"""Characters of all that do."""
SHORTEST_TEXT = 3
"""Characters of a text that an expression is filed under."""
MOST_DEMANDS = 4
"""Texts that are looked for before an expression is tried; the longest are."""

TRIED_IN_VAIN = 100
"""Regular expressions that did not fit beside the others, after which no more are tried: that costs time, too."""

_TOO_MUCH = "more than can be tried on every URL"
_OF_HOST = re.compile(r"\|\|([a-z0-9_-]+(?:\.[a-z0-9_-]+)*)([/^].*)", re.IGNORECASE | re.DOTALL)
_NOBODY: frozenset[str] = frozenset()
_WILD = re.compile(r"[*^|]+")
_EVERYWHERE = frozenset(("http", "https", "www", "com"))
"""Words that most URLs have: whatever is filed under one of them is tried each time."""


_Said: TypeAlias = tuple[str, int, bool, frozenset[str]]
"""A rule without its place."""


class Filed(NamedTuple):
    """A rule and where it stands."""

    where: int
    strength: int
    pattern: str
    """For URLs, or of a rule about one host for what follows the host; in lower case unless `match_case`."""
    match_case: bool
    spared: frozenset[str]
    """Names for which it does not hold, nor for those below them."""
    text: str
    """What stands in everything that it holds for, in lower case; the pattern itself where that is all it says."""
    expression: DemandingAutomaton | None = None

    def holds(self, url: URLText, allowance: Allowance) -> bool:
        """Return True if it holds for a URL in which its text stands. Raises OutOfAllowance."""
        if self.expression is not None:
            return self.expression.holds(url, allowance)
        if self.text is self.pattern and not self.match_case:
            allowance.spend(_FOUND)
            return True
        return holds(self, url, allowance)


class DemandingAutomaton(NamedTuple):
    """A regular expression, and what is quickly looked for first."""

    automaton: Automaton
    demands: tuple[tuple[str, ...], ...]
    """Texts in lower case; of each of these one stands in whatever it is found in."""
    surrounded: DemandedText | None
    """Another, with what stands in front of it."""

    def holds(self, url: URLText, allowance: Allowance) -> bool:
        """Return True if it is found in a URL or in its bare host. Raises OutOfAllowance."""
        small = url.small
        allowance.spend(_TRIED + sum(map(len, self.demands)) * (_LOOK + (len(small) >> _LOOKED)))
        for texts in self.demands:
            if not any(map(small.__contains__, texts)):
                return False
        if self.surrounded is not None and url.raw.isascii() and not _stands(self.surrounded, url, allowance):
            return False
        return self.automaton.found_in(url.raw, allowance) or self.automaton.found_in(url.host, allowance)


class Expression(NamedTuple):
    """A rule that is a regular expression, before it is filed."""

    filed: Filed
    root: Node
    texts: tuple[Text, ...]
    """Of which it demands one; empty where it demands none that is worth looking for."""


class URLRules:
    """Many rules, asked together."""

    def __init__(self) -> None:
        self._by_host: dict[str, list[Filed]] = {}
        self._waiting: list[Filed] = []
        """Rules about any host, before `close` files them."""
        self._expressions: list[Expression] = []
        self._by_text: dict[str, Filed] = {}
        self._more: dict[str, list[Filed]] = {}
        """Further rules with a text that one has already."""
        self.texts = TextIndex()
        """The texts of all rules about any host."""
        self._together: Automaton | None = None
        self._textless: list[Filed] = []
        """The expressions in `_together`."""
        self._size = self._filed_size = 0
        self._in_vain = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def demanded(self) -> KeysView[str]:
        """The texts of which one stands in each URL that a rule about any host is about."""
        return self._by_text.keys()

    @property
    def tries_all(self) -> bool:
        """True if there are rules that are tried on every URL."""
        return self._together is not None

    def add(self, rule: URLRule, where: int) -> str | None:
        """Keep a rule; `where` is the caller's. The host that it is about, None if it is about any.

        Raises NotKept where it cannot be kept beside the others.
        """
        if is_expression(rule.pattern):
            self._add_expression(rule, where)
            return None
        host, filed = _filed(rule, where)
        if host is None:
            self._waiting.append(filed)
            return None
        self._by_host.setdefault(host, []).append(filed)
        self._count += 1
        return host

    def remove(self, rules: Iterable[URLRule]) -> None:
        """Forget all rules that say the same as one of `rules`, of which there may be many."""
        expressions: set[_Said] = set()
        by_host: dict[str | None, set[_Said]] = {}
        for rule in rules:
            if is_expression(rule.pattern):
                expressions.add((rule.pattern, rule.strength, rule.match_case, frozenset(rule.spared)))
            else:
                host, filed = _filed(rule, 0)
                by_host.setdefault(host, set()).add(_said(filed))
        if expressions:
            self._expressions = [each for each in self._expressions if _said(each.filed) not in expressions]
        for host, said in by_host.items():
            place = self._waiting if host is None else self._by_host.get(host, [])
            before = len(place)
            place[:] = [each for each in place if _said(each) not in said]
            if host is not None:
                self._count -= before - len(place)

    def close(self) -> Counter[str]:
        """File what was added; afterwards it can be asked. How many rules are not kept, by the reason."""
        textless = [each for each in self._expressions if not each.texts]
        self._textless = [each.filed for each in textless]
        if textless:
            self._together = Automaton([each.root for each in textless], LARGEST_TOGETHER)
        placed: list[tuple[Filed, tuple[Text, ...]]] = [
            (filed, (Text(filed.text, filed.pattern.lower()),)) for filed in self._waiting
        ]
        placed += [(each.filed, each.texts) for each in self._expressions if each.texts]
        self.texts, left_out = TextIndex.of([text for _, texts in placed for text in texts])
        not_kept = at = 0
        for filed, texts in placed:
            behind = at + len(texts)
            if not left_out.isdisjoint(range(at, behind)):
                not_kept += 1
            else:
                for text, _ in texts:
                    if self._by_text.setdefault(text, filed) is not filed:
                        self._more.setdefault(text, []).append(filed)
            at = behind
        self._count += len(self._waiting) + len(self._expressions) - not_kept
        self._waiting, self._expressions = [], []
        return Counter({"without a text of four characters, beyond the first 200": not_kept} if not_kept else {})

    def matching(
        self, host: str, url: URLText, hosts: Iterable[str], standing: Iterable[str], allowance: Allowance
    ) -> list[Filed]:
        """The rules that hold for a URL, which has a path, in the order of their lines;
        `hosts`: names that it lies below, all that have rules; `standing`: texts that stand in it, all that rules have.

        Raises OutOfAllowance.
        """
        found: list[Filed] = []
        for name in hosts:
            place = self._by_host.get(name)
            if place is not None:
                found += _holding(place, url.path, allowance)
        for text in standing:
            filed = self._by_text.get(text)
            if filed is not None:
                more = self._more.get(text, ())
                allowance.spend((1 + len(more)) * _LOOK)
                found += [each for each in (filed, *more) if each.holds(url, allowance)]
        if self._together is not None:
            for asked in (url.raw, url.host):
                if self._together.found_in(asked, allowance):
                    found += [each for each in self._textless if each.holds(url, allowance)]
                    break
        if not found:
            return found
        if len(found) > 1:
            found.sort(key=_line)
        if not any(each.spared for each in found):
            return found
        names = [*suffixes(host)]
        return [each for each in found if each.spared.isdisjoint(names)]

    def _add_expression(self, rule: URLRule, where: int) -> None:
        if self._in_vain >= TRIED_IN_VAIN:
            raise NotKept(_TOO_MUCH)
        root = parse_expression(rule.pattern[1:-1], match_case=rule.match_case)
        automaton = Automaton([root])
        found = demands_of(root)
        demands = [tuple(map(_as_text, demand)) for demand in found]
        usable = [*filter(_is_usable, demands)]
        texts = min(usable, key=_often) if len(usable) > 1 else usable[0] if usable else ()
        size = self._filed_size if texts else self._size
        if size + automaton.size > (LARGEST_FILED if texts else LARGEST_TOGETHER):
            self._in_vain += 1
            raise NotKept(_TOO_MUCH)
        alone = [each for each, *more in found if each.before and len(each.text) >= SHORTEST_TEXT and not more]
        wanted = sorted((tuple(text for text, _ in demand) for demand in demands), key=_shortest, reverse=True)
        surrounded = max(alone, key=_compared, default=None)
        if surrounded is not None:
            surrounded = surrounded._replace(text=_quick(surrounded.text))
        made = DemandingAutomaton(automaton, tuple(wanted[:MOST_DEMANDS]), surrounded)
        filed = Filed(where, rule.strength, rule.pattern, rule.match_case, frozenset(rule.spared), "", made)
        if texts:
            self._filed_size += automaton.size
        else:
            self._size += automaton.size
        self._expressions.append(Expression(filed, root, texts))


def _holding(place: Sequence[Filed], url: URLText, allowance: Allowance) -> list[Filed]:
    small = url.small
    allowance.spend(len(place) * (_LOOK + (len(small) >> _LOOKED)))
    return [each for each in place if each.text in small and each.holds(url, allowance)]


def _filed(rule: URLRule, where: int) -> tuple[str | None, Filed]:
    """The host that a rule is about, if it is about one, and what is filed."""
    pattern = rule.pattern if rule.match_case else rule.pattern.lower()
    pattern = _without_stars(pattern)
    of_host = _OF_HOST.fullmatch(pattern)
    if of_host is not None:
        pattern = f"|{of_host[2]}"
    text = _demanded_text(pattern)
    spared = frozenset(rule.spared) if rule.spared else _NOBODY
    filed = Filed(where, rule.strength, pattern, rule.match_case, spared, pattern if text == pattern else text)
    return None if of_host is None else of_host[1].lower(), filed


def _without_stars(pattern: str) -> str:
    """Stars at the ends say nothing, but beside a bar: that it is no anchor."""
    inner = pattern.lstrip("*")
    pattern = pattern if inner[:1] in ("", "|") else inner
    inner = pattern.rstrip("*")
    return pattern if inner[-1:] in ("", "|") else inner


def _said(filed: Filed) -> _Said:
    return filed.pattern, filed.strength, filed.match_case, filed.spared


def _line(filed: Filed) -> int:
    return filed.where


def is_expression(pattern: str) -> bool:
    """Return True if a pattern is a regular expression."""
    return len(pattern) > 2 and pattern[0] == "/" and pattern[-1] == "/"


def _stands(wanted: DemandedText, url: URLText, allowance: Allowance) -> bool:
    """Return True if a text stands in an ASCII URL behind what it must. Raises OutOfAllowance."""
    raw, small, before = url.raw, url.small, wanted.before
    at = small.find(wanted.text)
    while at >= 0:
        allowance.spend(_LOOK * (1 + len(before)))
        if at >= len(before) and all(members >> ord(raw[at - place]) & 1 for place, members in enumerate(before, 1)):
            return True
        at = small.find(wanted.text, at + 1)
    return False


def _as_text(demanded: DemandedText) -> Text:
    """As the index takes it: `^` stands for what is no part of a word."""
    text = _quick(demanded.text)
    ends = demanded.ends and len(text) == len(demanded.text)
    return Text(text, f"{'^' * demanded.starts}{text}{'^' * ends}")


def _is_usable(demand: tuple[Text, ...]) -> bool:
    """Return True if texts of which an expression demands one are worth looking for in every URL."""
    return all(len(text) >= SHORTEST_TEXT and text.strip(":/.") not in _EVERYWHERE for text, _ in demand)


def _often(demand: tuple[Text, ...]) -> tuple[int, int]:
    """In how many URLs one of some texts is looked for, and then how short they are."""
    return sum(map(share_of, demand)), -min(len(text) for text, _ in demand)


def _compared(demanded: DemandedText) -> int:
    return len(demanded.text) + len(demanded.before)


def _shortest(texts: tuple[str, ...]) -> int:
    return min(map(len, texts))


def _demanded_text(pattern: str) -> str:
    """The longest text that a pattern surely demands; "" where it demands none."""
    return _quick(max(_WILD.split(pattern.lower()), key=len))


def _quick(text: str) -> str:
    """The beginning of a text that ends where its first character comes for the third time.

    Looking for such a text compares no character of a URL more than a few times, whatever the URL.
    """
    parts = text[1:].split(text[:1], 2) if text else []
    return text if len(parts) < 3 else text[: -len(parts[2]) - 1]
