"""The directives of a list: `!#if … !#else … !#endif`, `!#include`, `!+ PLATFORM(…)`.

A condition names blockers, browsers and systems (`adguard`, `ext_ublock`, `env_firefox`). A tunnel is none of them, so
each of these names is false, and what is written for everybody else holds.

Read first: AdGuard's and uBlock Origin's documents about the pre-parsing directives.
"""

from __future__ import annotations

import re

OF_OTHERS = "for other blockers (!#if, !+)"
INCLUDED = "!#include: give that list a [[filter.lists]] of its own"

DEEPEST = 50
"""`!#if` within `!#if`."""
_TOKENS = re.compile(r"\s*(&&|\|\||[!()]|\w+)")


class Directives:
    """Reads a list's directives in order, and says what the lines between them are worth."""

    def __init__(self) -> None:
        self._open: list[bool] = []
        """True if the lines count, for each `!#if` that is open."""
        self._hidden = False
        self._for_next: str | None = None

    def read(self, text: str) -> str | None:
        """Take a line that begins with `!#` or `!+`; a reason where it is one that cannot be kept.

        Raises ValueError for a condition that is none.
        """
        word, _, rest = text[2:].strip().partition(" ")
        if text.startswith("!+"):
            self._for_next = OF_OTHERS if re.search(r"(?<!NOT_)\bPLATFORM\(", text) else None
        elif word == "if":
            if len(self._open) >= DEEPEST:
                raise ValueError(f"!#if nested deeper than {DEEPEST}")
            self._open.append(False)
            self._hidden = True
            self._open[-1] = _holds(rest)
        elif word == "else" and self._open:
            self._open[-1] = not self._open[-1]
        elif word == "endif" and self._open:
            self._open.pop()
        elif word == "include":
            return INCLUDED
        self._hidden = not all(self._open)
        return None

    def reason(self) -> str | None:
        """Why the next line, which is a rule, does not count; None if it does."""
        reason, self._for_next = self._for_next, None
        return OF_OTHERS if self._hidden else reason


def _holds(condition: str) -> bool:
    """Return True if a condition holds in which every name is false but `true`. Raises ValueError."""
    tokens, at = [], 0
    while at < len(condition.rstrip()):
        found = _TOKENS.match(condition, at)
        if found is None:
            raise ValueError(f"not a condition: {condition[:60]!r}")
        tokens.append(found[1])
        at = found.end()
    value, rest = _any(tokens, 0)
    if rest < len(tokens):
        raise ValueError(f"not a condition: {condition[:60]!r}")
    return value


def _any(tokens: list[str], at: int) -> tuple[bool, int]:
    value, at = _all(tokens, at)
    while at < len(tokens) and tokens[at] == "||":
        more, at = _all(tokens, at + 1)
        value = value or more
    return value, at


def _all(tokens: list[str], at: int) -> tuple[bool, int]:
    value, at = _one(tokens, at, 0)
    while at < len(tokens) and tokens[at] == "&&":
        more, at = _one(tokens, at + 1, 0)
        value = value and more
    return value, at


def _one(tokens: list[str], at: int, depth: int) -> tuple[bool, int]:
    if at >= len(tokens) or depth > DEEPEST or tokens[at] in {")", "&&", "||"}:
        raise ValueError("a condition ends where a name is expected")
    if tokens[at] == "!":
        value, at = _one(tokens, at + 1, depth + 1)
        return not value, at
    if tokens[at] != "(":
        return tokens[at] == "true", at + 1
    if tokens.count("(") > DEEPEST:
        raise ValueError(f"brackets nested deeper than {DEEPEST}")
    value, at = _any(tokens, at + 1)
    if at >= len(tokens) or tokens[at] != ")":
        raise ValueError("a bracket of a condition is not closed")
    return value, at + 1
