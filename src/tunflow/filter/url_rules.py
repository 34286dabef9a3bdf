"""Rules about URLs, found by their words: only those of which a word stands in a URL are tried.

A word is a run of three or more letters, digits or `%` that the pattern surely demands: one with something else on both
sides. Each rule is filed under its longest; those that demand none are tried for every URL.
"""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from typing import NamedTuple

from tunflow.filter.list_line import URLRule

_WORD = re.compile(r"[a-z0-9%]{3,}")
_DEMANDED = re.compile(r"(?<![a-z0-9%*])[a-z0-9%]{3,}(?![a-z0-9%*])")
_WILD = re.compile(r"[*^|]+")
_SEPARATOR = r"(?:[^\w.%-]|$)"
"""Adblock's `^`: anything but a letter, a digit or one of `_-.%`, and also the end."""
_HOST_START = r"^[a-z][a-z0-9+.-]*://(?:[^/?#]*[.@])?"


class Filed(NamedTuple):
    """A rule and where it stands."""

    rule: URLRule
    where: int
    text: str
    """What stands in every URL that it holds for, in lower case: looking for it is a hundred times cheaper."""


class URLRules:
    """Many rules, asked together."""

    def __init__(self) -> None:
        self._by_word: dict[str, list[Filed]] = {}
        self._always: list[Filed] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, rule: URLRule, where: int) -> None:
        """Keep a rule; `where` is the caller's."""
        self._count += 1
        word = _demanded_word(rule.pattern)
        if word is None:
            self._always.append(Filed(rule, where, _demanded_text(rule.pattern)))
        else:
            self._by_word.setdefault(word, []).append(Filed(rule, where, _demanded_text(rule.pattern)))

    def matching(self, url: str) -> list[Filed]:
        """The rules that hold for a URL."""
        small = url.lower()
        found = [filed for filed in self._always if filed.text in small and _holds(filed.rule, url)]
        by_word = self._by_word
        if by_word:
            for word in set(_WORD.findall(small)):
                for filed in by_word.get(word, ()):
                    if filed.text in small and _holds(filed.rule, url):
                        found.append(filed)
        return found


def _holds(rule: URLRule, url: str) -> bool:
    return compiled(rule.pattern, rule.match_case).search(url) is not None


def _is_expression(pattern: str) -> bool:
    return len(pattern) > 2 and pattern[0] == "/" and pattern[-1] == "/"


def _demanded_text(pattern: str) -> str:
    """The longest text that a pattern surely demands; "" where it demands none."""
    if _is_expression(pattern):
        return ""
    return sys.intern(max(_WILD.split(pattern.lower()), key=len))


def _demanded_word(pattern: str) -> str | None:
    if _is_expression(pattern):
        return None
    text = pattern.lower()
    # At either end a longer word may go on, unless an anchor says that it does not.
    bounded = f"{'' if text.startswith('|') else '*'}{text}{'' if text.endswith(('|', '^')) else '*'}"
    words = _DEMANDED.findall(bounded.replace("|", "/"))
    return max(words, key=len) if words else None


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
