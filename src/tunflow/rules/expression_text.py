"""Texts that an expression demands: in what it is found in, one of each set of them stands, which is quickly seen."""

from __future__ import annotations

from typing import NamedTuple

from tunflow.rules.expression_syntax import AT_END, AT_START, OTHER, Anchor, Characters, Choice, Node, Repeat, Series

MOST_TEXTS = 8
"""Of which one must be there."""
MOST_BEFORE = 16
"""Characters in front of a text that are compared."""
_LONGEST = 64
"""Characters of a text; what is longer says no more."""
_IN_WORDS = sum(
    1 << ord(character) for character in "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ%"
) | (1 << OTHER)


class DemandedText(NamedTuple):
    """A text in lower case, and what is known of the characters beside it."""

    text: str
    starts: bool = False
    """True if no letter, digit or `%` stands in front of it."""
    ends: bool = False
    """The same of what stands behind it."""
    before: tuple[int, ...] = ()
    """What the characters in front of it are out of, as in `Characters`, from the nearest on, as far as is known."""


Demand = tuple[DemandedText, ...]
"""Texts, one of which must be there."""


def demands_of(root: Node) -> list[Demand]:
    """What must stand in the lower case of whatever the expression is found in: one of each of these, in this order.

    Empty where the expression demands no text.
    """
    return _walked(root, False).found


def _walked(root: Node, is_behind_sign: bool) -> _Walk:
    walk = _Walk(is_behind_sign)
    walk.take(root)
    walk.end_run(False)
    return walk


def _worth(demand: Demand) -> tuple[int, int]:
    return min(len(each.text) for each in demand), -len(demand)


class _Walk:
    """Goes through an expression from left to right, with the run of single characters that it is in."""

    def __init__(self, is_behind_sign: bool) -> None:
        self.found: list[Demand] = []
        self._run = ""
        self._run_starts = False
        self._run_before: tuple[int, ...] = ()
        self._before: list[int] = []
        """What the characters in front of the next one are out of, the nearest last."""
        self.is_behind_sign = is_behind_sign
        """True if what stands in front of the next character is no letter, digit or `%`."""

    def take(self, node: Node) -> None:
        """A part that must be there."""
        if isinstance(node, Characters):
            self._take_characters(node)
        elif isinstance(node, Series):
            for part in node.parts:
                self.take(part)
        elif isinstance(node, Repeat):
            self._take_repeat(node)
        elif isinstance(node, Choice):
            self.end_run(False)
            walks = [_walked(option, self.is_behind_sign) for option in node.options]
            options = [max(walk.found, key=_worth, default=()) for walk in walks]
            texts = tuple(dict.fromkeys(text for option in options for text in option))
            if all(options) and len(texts) <= MOST_TEXTS:
                self.found.append(texts)
            self.is_behind_sign = all(walk.is_behind_sign for walk in walks)
            self._before.clear()
        else:
            self._take_anchor(node)

    def end_run(self, ends: bool) -> None:
        """What comes next may be anything; `ends` if it is no letter, digit or `%`."""
        if self._run:
            self.found.append((DemandedText(self._run, self._run_starts, ends, self._run_before),))
            self._run = ""

    def _take_characters(self, node: Characters) -> None:
        character = _single(node)
        is_sign = not node.members & _IN_WORDS
        if character is None or len(self._run) >= _LONGEST:
            self.end_run(is_sign)
        if character is not None:
            if not self._run:
                self._run_starts = self.is_behind_sign
                self._run_before = tuple(reversed(self._before[-MOST_BEFORE:]))
            self._run += character
        self.is_behind_sign = is_sign
        self._before.append(node.members)

    def _take_anchor(self, node: Anchor) -> None:
        """It takes no character."""
        if node.condition == AT_END:
            self.end_run(True)
        elif node.condition == AT_START and not self._run:
            self.is_behind_sign = True

    def _take_repeat(self, node: Repeat) -> None:
        is_whole = node.least == node.most and (isinstance(node.part, Characters) or node.least == 1)
        for _ in range(min(node.least, _LONGEST) if isinstance(node.part, Characters) else min(node.least, 1)):
            self.take(node.part)
        if not is_whole or node.least > _LONGEST:
            self.end_run(False)
            known = min(node.least, _LONGEST) if isinstance(node.part, Characters) else 0
            self.is_behind_sign &= known > 0
            self._before = self._before[-known:] if known else []


def _single(node: Characters) -> str | None:
    """The one character that a set holds, upper and lower case taken for one; None for more."""
    members = node.members
    lowest = members & -members
    code = lowest.bit_length() - 1
    if not 0 <= code < 128:
        return None
    character = chr(code)
    rest = members & ~lowest
    if rest and not (character.isupper() and rest == 1 << ord(character.lower())):
        return None
    return character.lower()
