"""Adblock's patterns, compared with URLs at a cost that grows with the length of the URL and with nothing worse.

A pattern is cut at its `*`. Each piece is looked for behind the one before, at the first place where it stands: if any
way of cutting the URL fits, then this one does, so that nothing is ever tried again.

`^` stands for one separator or the end. A piece that has one is looked for in the URL with all its separators written
as `^`, and then compared with the URL as it is.

Read first: https://help.adblockplus.org/hc/en-us/articles/360062733293 (filters)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tunflow.rules.expression import Allowance

LONGEST_PATTERN = 1000
MOST_SEPARATORS = 4
"""`^` behind one another at a pattern's end: each of them may stand for the end."""

_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.%")
_MARKED = "".join(chr(code) if chr(code) in _WORD else "^" for code in range(128))
_MARKED_BYTES = _MARKED.encode() + bytes(128)

_CANDIDATE = 40
_TRIED = 12
"""What a pattern costs, and each place where only its separators fit, in the steps of an `Allowance`."""
_SHORT = 512
_COMPARED = 6
"""The logarithm of how many characters are compared in one step."""


def _as_marked(text: str) -> str:
    """As `str.translate`, which is slow: 3.7 us for a URL instead of 0.3."""
    return text.encode().translate(_MARKED_BYTES).decode() if text.isascii() else text.translate(_MARKED)


class URLText:
    """A URL, or the end of one from its path on."""

    __slots__ = ("_host", "_marked", "_path", "_starts", "raw", "small")

    def __init__(self, raw: str, small: str | None = None) -> None:
        """`small`: the same in lower case, where that is known."""
        self.raw = raw
        self.small = raw.lower() if small is None else small
        self._path: URLText | None = None
        self._host: str | None = None
        self._marked = ""
        self._starts: tuple[int, ...] | None = None

    @property
    def marked(self) -> str:
        """In lower case, all separators as `^`, and some of them behind the end."""
        if not self._marked:
            self._marked = _as_marked(self.small) + "^" * MOST_SEPARATORS
        return self._marked

    @property
    def host(self) -> str:
        """The host alone, without port and brackets."""
        if self._host is None:
            host = self.small[self.small.find("//") + 2 :]
            for mark in "/?#":
                host = host.partition(mark)[0]
            inside, bracket, _ = host[1:].partition("]") if host[:1] == "[" else ("", "", "")
            self._host = inside if bracket else host.partition(":")[0]
        return self._host

    @property
    def path(self) -> URLText:
        """The URL from its path on."""
        if self._path is None:
            self._path = URLText(self.raw[self.raw.index("/", self.raw.index("//") + 2) :])
        return self._path

    @property
    def starts(self) -> tuple[int, ...]:
        """Where `||` may stand: in front of each label of the host."""
        if self._starts is None:
            at = self.small.find("://") + 3
            ends = (end for mark in "/?#" if (end := self.small.find(mark, at)) >= 0)
            end = min(ends, default=len(self.small))
            found = [at]
            while (at := self.small.find(".", at, end) + 1) > 0:
                found.append(at)
            self._starts = tuple(found)
        return self._starts


class Pattern(Protocol):
    """A pattern of a list, in lower case unless `match_case`."""

    @property
    def pattern(self) -> str:
        """As the list has it."""

    @property
    def match_case(self) -> bool:
        """True if upper and lower case differ."""


def holds(rule: Pattern, text: URLText, allowance: Allowance) -> bool:
    """Return True if a pattern holds for a URL. Raises OutOfAllowance."""
    pattern = rule.pattern
    compared = text.raw if rule.match_case else text.small
    allowance.spend(_CANDIDATE + (len(compared) * _weight(pattern, len(compared)) >> _COMPARED))
    at_end = pattern[-1:] == "|" and len(pattern) > 1
    pattern = pattern[:-1] if at_end else pattern
    starts: tuple[int, ...] | None = None
    if pattern[:2] == "||":
        pattern, starts = pattern[2:], text.starts
    elif pattern[:1] == "|":
        pattern, starts = pattern[1:], (0,)
    if "^" not in pattern and starts is None and not at_end:
        return _stand_in_turn(pattern.split("*"), compared)
    match = _Comparison(text, compared, allowance)
    first, *pieces = pattern.split("*")
    if not pieces:
        return match.alone(first, starts, at_end)
    at = match.first(first, starts)
    for piece in pieces[:-1]:
        if at < 0:
            return False
        at = match.behind(piece, at)
    if at < 0:
        return False
    return match.at_end(pieces[-1], at) if at_end else match.behind(pieces[-1], at) >= 0


def _stand_in_turn(pieces: Sequence[str], compared: str) -> bool:
    """Return True if each piece stands behind the one before."""
    at = 0
    for piece in pieces:
        at = compared.find(piece, at)
        if at < 0:
            return False
        at += len(piece)
    return True


def _weight(pattern: str, length: int) -> int:
    """How often a character is compared at most, looking for a pattern's pieces from left to right.

    Where the beginning of a piece stood in vain, that beginning may overlap itself; no more often than its first
    character stands in the piece.
    """
    if length <= _SHORT:
        return len(pattern)
    return 2 + max(piece.count(piece[:1]) for piece in pattern.strip("|").split("*"))


class _Comparison:
    """One pattern and one URL."""

    __slots__ = ("_allowance", "_compared", "_text")

    def __init__(self, text: URLText, compared: str, allowance: Allowance) -> None:
        self._text = text
        self._compared = compared
        self._allowance = allowance

    def alone(self, piece: str, starts: tuple[int, ...] | None, at_end: bool) -> bool:
        """Return True if a piece stands at one of the places to start from, and at the end, if that is asked for."""
        if starts is None:
            return self.at_end(piece, 0) if at_end else self._find(piece, 0) >= 0
        for start in starts:
            if self._stands(piece, start) and (not at_end or start + len(piece) >= len(self._compared)):
                return True
        return False

    def first(self, piece: str, starts: tuple[int, ...] | None) -> int:
        """Where the first piece ends; -1 if it does not stand there."""
        if starts is None:
            return self.behind(piece, 0)
        return next((start + len(piece) for start in starts if self._stands(piece, start)), -1)

    def behind(self, piece: str, at: int) -> int:
        """Where a piece ends that stands at `at` or behind; -1 if it does not stand there."""
        found = self._find(piece, at)
        return found + len(piece) if found >= 0 else -1

    def at_end(self, piece: str, at: int) -> bool:
        """Return True if the URL ends with a piece that begins at `at` or behind."""
        behind = piece.rstrip("^")
        past = len(piece) - len(behind) if behind else MOST_SEPARATORS
        first = len(self._compared) - len(piece)
        return not piece or any(self._stands(piece, start) for start in range(max(at, first), first + past + 1))

    def _find(self, piece: str, at: int) -> int:
        if not piece:
            return at
        if "^" not in piece:
            return self._compared.find(piece, at)
        marked, wanted = self._text.marked, piece.lower().translate(_MARKED)
        while (at := marked.find(wanted, at)) >= 0 and not self._stands(piece, at):
            self._allowance.spend(_TRIED)
            at += 1
        return at

    def _stands(self, piece: str, at: int) -> bool:
        """Return True if a piece stands at a place."""
        if "^" not in piece:
            return self._compared.startswith(piece, at)
        if not self._text.marked.startswith(piece.lower().translate(_MARKED), at):
            return False
        for part in piece.split("^"):
            if part and not self._compared.startswith(part, at):
                return False
            at += len(part) + 1
        return True
