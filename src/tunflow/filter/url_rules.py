"""Rules about URLs, found without trying them all.

- A rule about one host (`||example.com/path`) is filed under that host, and tried on the path alone. Whoever asks has
  a table of names anyway, and says which of these hosts a URL lies below.
- Another is filed under a word that the pattern surely demands: a run of three or more letters, digits or `%` with
  something else on both sides. Of several words the one counts under which the fewest rules are filed so far.
- One that demands no word is filed under four characters that stand together in it; what has not even those is tried
  for every URL.
- Regular expressions are tried together, as one automaton, and one by one only where that finds something.

Whoever asks says what an answer may cost: a page chooses its URLs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from tunflow.filter.list_line import URLRule
from tunflow.filter.wildcard import Text, holds
from tunflow.rules.expression import Allowance, Automaton
from tunflow.rules.expression_syntax import Node, NotKept, parse_expression

GRAM = 4
"""Characters. Fewer would stand in most URLs, more in too few patterns."""
LARGEST_TOGETHER = 4000
"""Characters of all regular expressions of a list together."""

_WORD = re.compile(r"[a-z0-9%]{3,}")
_DEMANDED = re.compile(r"(?<![a-z0-9%*])[a-z0-9%]{3,}(?![a-z0-9%*])")
_OF_HOST = re.compile(r"\|\|([a-z0-9_-]+(?:\.[a-z0-9_-]+)*)([/^].*)", re.IGNORECASE | re.DOTALL)
_WILD = re.compile(r"[*^|]+")
_EVERYWHERE = frozenset(("http", "https", "www", "com"))
"""Words that most URLs have: whatever is filed under one of them is tried each time."""


class Filed(NamedTuple):
    """A rule and where it stands."""

    where: int
    strength: int
    pattern: str
    """For URLs, or of a rule about one host for what follows the host; in lower case unless `match_case`."""
    match_case: bool


class Expression(NamedTuple):
    """A rule that is a regular expression."""

    filed: Filed
    automaton: Automaton


class URLRules:
    """Many rules, asked together."""

    def __init__(self) -> None:
        self._by_host: dict[str, list[Filed]] = {}
        self._by_word: dict[str, list[Filed]] = {}
        self._by_gram: dict[str, list[Filed]] = {}
        self._always: list[Filed] = []
        self._expressions: list[Expression] = []
        self._roots: list[Node] = []
        self._together: Automaton | None = None
        self._size = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, rule: URLRule, where: int) -> str | None:
        """Keep a rule; `where` is the caller's. The host that it is about, None if it is about any.

        Raises NotKept where it cannot be kept beside the others.
        """
        pattern = rule.pattern if rule.match_case else rule.pattern.lower()
        if is_expression(pattern):
            self._add_expression(rule, where)
            self._count += 1
            return None
        self._count += 1
        of_host = _OF_HOST.fullmatch(pattern)
        if of_host is None:
            self._place(pattern).append(Filed(where, rule.strength, pattern, rule.match_case))
            return None
        host = of_host[1].lower()
        place = self._by_host.setdefault(host, [])
        place.append(Filed(where, rule.strength, f"|{of_host[2]}", rule.match_case))
        return host

    def matching(self, url: str, hosts: Iterable[str], allowance: Allowance) -> list[Filed]:
        """The rules that hold for a URL, which has a path; `hosts`: names that it lies below, all that have rules.

        Raises OutOfAllowance.
        """
        text = Text(url)
        allowance.spend(len(url) >> 1)
        small = text.small
        found: list[Filed] = []
        path: Text | None = None
        for host in hosts:
            place = self._by_host.get(host)
            if place is not None:
                path = path or Text(url[url.index("/", url.index("//") + 2) :])
                found += _holding(place, path, allowance)
        places = [self._always]
        by_word, by_gram = self._by_word, self._by_gram
        if by_word:
            places += [by_word[word] for word in by_word.keys() & set(_WORD.findall(small))]
        if by_gram:
            allowance.spend(len(url))
            grams = {small[at : at + GRAM] for at in range(len(small) - GRAM + 1)}
            places += [by_gram[gram] for gram in by_gram.keys() & grams]
        for place in places:
            found += _holding(place, text, allowance)
        if self._expressions:
            found += self._matching_expressions(url, allowance)
        return found

    def _matching_expressions(self, url: str, allowance: Allowance) -> list[Filed]:
        if self._together is None:
            self._together = Automaton(self._roots, LARGEST_TOGETHER)
        if not self._together.found_in(url, allowance):
            return []
        return [each.filed for each in self._expressions if each.automaton.found_in(url, allowance)]

    def _add_expression(self, rule: URLRule, where: int) -> None:
        root = parse_expression(rule.pattern[1:-1], match_case=rule.match_case)
        automaton = Automaton([root])
        if self._size + automaton.size > LARGEST_TOGETHER:
            raise NotKept("more than can be tried on every URL")
        self._size += automaton.size
        self._roots.append(root)
        self._together = None
        self._expressions.append(Expression(Filed(where, rule.strength, rule.pattern, rule.match_case), automaton))

    def _place(self, pattern: str) -> list[Filed]:
        """Where a pattern is filed that is not about one host."""
        words = _demanded_words(pattern)
        if words:
            return _least(self._by_word, words)
        text = _demanded_text(pattern)
        if len(text) < GRAM:
            return self._always
        return _least(self._by_gram, [text[at : at + GRAM] for at in range(len(text) - GRAM + 1)])


def _holding(place: list[Filed], text: Text, allowance: Allowance) -> list[Filed]:
    return [each for each in place if holds(each.pattern, text, match_case=each.match_case, allowance=allowance)]


def _least(places: dict[str, list[Filed]], keys: list[str]) -> list[Filed]:
    """The list of that key under which the fewest rules are filed so far; of several such the longest key's."""
    best = min(keys, key=lambda key: (key in _EVERYWHERE, len(places.get(key, ())), -len(key)))
    return places.setdefault(best, [])


def is_expression(pattern: str) -> bool:
    """Whether a pattern is a regular expression."""
    return len(pattern) > 2 and pattern[0] == "/" and pattern[-1] == "/"


def _demanded_text(pattern: str) -> str:
    """The longest text that a pattern surely demands; "" where it demands none."""
    return max(_WILD.split(pattern.lower()), key=len)


def _demanded_words(pattern: str) -> list[str]:
    text = pattern.lower()
    # At either end a longer word may go on, unless an anchor says that it does not.
    bounded = f"{'' if text.startswith('|') else '*'}{text}{'' if text.endswith(('|', '^')) else '*'}"
    return _DEMANDED.findall(bounded.replace("|", "/"))
