"""Rules about URLs, found without trying them all.

- A rule about one host (`||example.com/path`) is filed under that host, and tried on the path alone. Whoever asks has
  a table of names anyway, and says which of these hosts a URL lies below.
- Another is filed under a word that the pattern surely demands: a run of three or more letters, digits or `%` with
  something else on both sides. Of several words the one counts under which the fewest rules are filed so far.
- One that demands no word is filed under four characters that stand together in it; what has not even those is tried
  for every URL.

What is found so is compared with the longest text that the pattern demands, and only then with its regular expression.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from tunflow.filter.list_line import URLRule

GRAM = 4
"""Characters. Fewer would stand in most URLs, more in too few patterns."""

_WORD = re.compile(r"[a-z0-9%]{3,}")
_DEMANDED = re.compile(r"(?<![a-z0-9%*])[a-z0-9%]{3,}(?![a-z0-9%*])")
_OF_HOST = re.compile(r"\|\|([a-z0-9_-]+(?:\.[a-z0-9_-]+)*)([/^].*)", re.IGNORECASE | re.DOTALL)
_WILD = re.compile(r"[*^|]+")
_SEPARATOR = r"(?:[^\w.%-]|$)"
"""Adblock's `^`: anything but a letter, a digit or one of `_-.%`, and also the end."""
_HOST_START = r"^[a-z][a-z0-9+.-]*://(?:[^/?#]*[.@])?"
_EVERYWHERE = frozenset(("http", "https", "www", "com"))
"""Words that most URLs have: whatever is filed under one of them is tried each time."""


class Filed(NamedTuple):
    """A rule and where it stands."""

    where: int
    strength: int
    pattern: str
    """For URLs, or of a rule about one host for what follows the host."""
    match_case: bool
    text: str
    """What stands in everything that it holds for, in lower case: looking for it is a hundred times cheaper."""

    def holds(self, text: str) -> bool:
        """Whether a URL, or a path, is meant."""
        return compiled(self.pattern, self.match_case).search(text) is not None


class URLRules:
    """Many rules, asked together."""

    def __init__(self) -> None:
        self._by_host: dict[str, list[Filed]] = {}
        self._by_word: dict[str, list[Filed]] = {}
        self._by_gram: dict[str, list[Filed]] = {}
        self._always: list[Filed] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, rule: URLRule, where: int) -> str | None:
        """Keep a rule; `where` is the caller's. The host that it is about, None if it is about any."""
        self._count += 1
        pattern = rule.pattern
        of_host = _OF_HOST.fullmatch(pattern)
        if of_host is None:
            self._file(self._place(pattern), rule, where, pattern)
            return None
        host = of_host[1].lower()
        self._file(self._by_host.setdefault(host, []), rule, where, f"|{of_host[2]}")
        return host

    def matching(self, url: str, hosts: Iterable[str]) -> list[Filed]:
        """The rules that hold for a URL, which has a path; `hosts`: names that it lies below, all that have rules."""
        small = url.lower()
        found = []
        for host in hosts:
            at = url.index("/", url.index("//") + 2)
            path, small_path = url[at:], small[at:]
            found += [each for each in self._by_host.get(host, ()) if each.text in small_path and each.holds(path)]
        places = [self._always]
        by_word, by_gram = self._by_word, self._by_gram
        if by_word:
            places += [by_word[word] for word in by_word.keys() & set(_WORD.findall(small))]
        if by_gram:
            grams = {small[at : at + GRAM] for at in range(len(small) - GRAM + 1)}
            places += [by_gram[gram] for gram in by_gram.keys() & grams]
        found += [each for place in places for each in place if each.text in small and each.holds(url)]
        return found

    @staticmethod
    def _file(place: list[Filed], rule: URLRule, where: int, pattern: str) -> None:
        place.append(Filed(where, rule.strength, pattern, rule.match_case, _demanded_text(pattern)))

    def _place(self, pattern: str) -> list[Filed]:
        """Where a pattern is filed that is not about one host."""
        words = _demanded_words(pattern)
        if words:
            return _least(self._by_word, words)
        text = _demanded_text(pattern)
        if len(text) < GRAM:
            return self._always
        return _least(self._by_gram, [text[at : at + GRAM] for at in range(len(text) - GRAM + 1)])


def _least(places: dict[str, list[Filed]], keys: list[str]) -> list[Filed]:
    """The list of that key under which the fewest rules are filed so far; of several such the longest key's."""
    best = min(keys, key=lambda key: (key in _EVERYWHERE, len(places.get(key, ())), -len(key)))
    return places.setdefault(best, [])


def _is_expression(pattern: str) -> bool:
    return len(pattern) > 2 and pattern[0] == "/" and pattern[-1] == "/"


def _demanded_text(pattern: str) -> str:
    """The longest text that a pattern surely demands; "" where it demands none."""
    if _is_expression(pattern):
        return ""
    return sys.intern(max(_WILD.split(pattern.lower()), key=len))


def _demanded_words(pattern: str) -> list[str]:
    if _is_expression(pattern):
        return []
    text = pattern.lower()
    # At either end a longer word may go on, unless an anchor says that it does not.
    bounded = f"{'' if text.startswith('|') else '*'}{text}{'' if text.endswith(('|', '^')) else '*'}"
    return _DEMANDED.findall(bounded.replace("|", "/"))


@lru_cache(maxsize=65536)
def compiled(pattern: str, match_case: bool) -> re.Pattern[str]:
    """The regular expression that a pattern means."""
    flags = 0 if match_case else re.IGNORECASE
    if _is_expression(pattern):
        return re.compile(pattern[1:-1], flags)
    start = end = ""
    if pattern.startswith("||"):
        start, pattern = _HOST_START, pattern[2:]
    elif pattern.startswith("|"):
        start, pattern = "^", pattern[1:]
    if pattern.endswith("|"):
        end, pattern = "$", pattern[:-1]
    body = re.escape(pattern.strip("*")).replace(r"\*", ".*").replace(r"\^", _SEPARATOR)
    return re.compile(start + body + end, flags)
