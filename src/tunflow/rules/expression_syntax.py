"""Regular expressions as lists and profiles write them, read into a tree.

What is read is what a finite automaton can decide: characters, classes, groups, alternatives, repetitions, `^`, `$`,
`\\b` and `\\B`. Whether a repetition is greedy makes no difference to whether an expression is found, so `*?` is `*`.
Back references, look-around, possessive and atomic parts are `NotKept`: they mean something, and no automaton has it.

Read first: ECMA-262 §22.2 (what writers of lists test with), https://github.com/google/re2/wiki/Syntax
"""

from __future__ import annotations

from dataclasses import dataclass

OTHER = 128
"""The bit of a set of characters that stands for all characters that are not ASCII."""
ANY = (1 << OTHER + 1) - 1

AT_START, AT_END, AT_WORD_EDGE, INSIDE_WORD = 1, 2, 4, 8
"""Conditions on a place between two characters: `^`, `$`, `\\b`, `\\B`."""

DEEPEST = 50
"""Groups within groups: more is a mistake."""
MOST_REPEATS = 250


class NotKept(ValueError):
    """An expression that is understood, and that no automaton can decide."""


@dataclass(frozen=True, slots=True)
class Characters:
    """One character out of a set: bit n is for the character n, `OTHER` for those that are not ASCII."""

    members: int


@dataclass(frozen=True, slots=True)
class Anchor:
    """A condition on a place: one of `AT_START` and the like."""

    condition: int


@dataclass(frozen=True, slots=True)
class Series:
    """One behind the other."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """Any of them."""

    options: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """`least` times, up to `most` times; None: without end."""

    part: Node
    least: int
    most: int | None


Node = Characters | Anchor | Series | Choice | Repeat


def _set(text: str) -> int:
    return sum(1 << ord(character) for character in text)


_DIGITS = _set("0123456789")
_WORD = _DIGITS | _set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_BLANKS = _set(" \t\n\r\f\v")
_CLASSES = {"d": _DIGITS, "D": ANY & ~_DIGITS, "w": _WORD, "W": ANY & ~_WORD, "s": _BLANKS, "S": ANY & ~_BLANKS}
_PLACES = {"b": AT_WORD_EDGE, "B": INSIDE_WORD, "A": AT_START, "Z": AT_END, "z": AT_END}
_CONTROL = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v", "0": "\0", "a": "\a"}
_HEX = {"x": 2, "u": 4}
_LOWER, _UPPER = _set("abcdefghijklmnopqrstuvwxyz"), _set("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_CASE = ord("a") - ord("A")


def parse_expression(text: str, *, match_case: bool = False) -> Node:
    """The tree of an expression. Raises NotKept, and ValueError for what is none, both with a reason for people."""
    if text.startswith("(?i)"):
        text, match_case = text[4:], False
    return _Reader(text, match_case).read()


class _Reader:
    """Reads one expression from left to right."""

    def __init__(self, text: str, match_case: bool) -> None:
        self._text = text
        self._at = 0
        self._match_case = match_case
        self._depth = 0

    def read(self) -> Node:
        found = self._choice()
        if self._at < len(self._text):
            raise ValueError(f"a closing bracket too many at character {self._at + 1}")
        return found

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self, wanted: str) -> bool:
        if not self._text.startswith(wanted, self._at):
            return False
        self._at += len(wanted)
        return True

    def _choice(self) -> Node:
        options = [self._series()]
        while self._take("|"):
            options.append(self._series())
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def _series(self) -> Node:
        parts: list[Node] = []
        while self._peek() not in ("", "|", ")"):
            is_group = self._peek() == "("
            part = self._atom()
            repeats = self._repeats()
            if repeats is not None:
                if isinstance(part, Anchor) and not is_group:
                    raise ValueError(f"nothing to repeat at character {self._at}")
                part = Repeat(part, *repeats)
            parts.append(part)
        return parts[0] if len(parts) == 1 else Series(tuple(parts))

    def _repeats(self) -> tuple[int, int | None] | None:
        if self._take("*"):
            found: tuple[int, int | None] = 0, None
        elif self._take("+"):
            found = 1, None
        elif self._take("?"):
            found = 0, 1
        else:
            counted = self._counted()
            if counted is None:
                return None
            found = counted
        if self._take("+"):
            raise NotKept("a possessive repetition")
        self._take("?")
        return found

    def _counted(self) -> tuple[int, int | None] | None:
        """`{2}`, `{2,}`, `{2,3}`, `{,3}`; None for a bracket that is only a character."""
        end = self._text.find("}", self._at)
        if self._peek() != "{" or end < 0:
            return None
        least, comma, most = self._text[self._at + 1 : end].partition(",")
        if not (least or most) or not all(part.isascii() and part.isdigit() for part in (least, most) if part):
            return None
        self._at = end + 1
        if len(least) > 4 or len(most) > 4 or int(least or 0) > MOST_REPEATS or int(most or 0) > MOST_REPEATS:
            raise NotKept(f"more than {MOST_REPEATS} repetitions")
        found = int(least or 0), int(most) if most else None if comma else int(least)
        if found[1] is not None and found[1] < found[0]:
            raise ValueError(f"{least} to {most} repetitions")
        return found

    def _atom(self) -> Node:
        character = self._text[self._at]
        self._at += 1
        if character == "(":
            return self._group()
        if character == "[":
            return self._class()
        if character == ".":
            return Characters(ANY)
        if character in "^$":
            return Anchor(AT_START if character == "^" else AT_END)
        if character == "\\":
            return self._escaped()
        if character in "*+?":
            raise ValueError(f"nothing to repeat at character {self._at}")
        return self._characters(_bit(character))

    def _group(self) -> Node:
        self._depth += 1
        if self._depth > DEEPEST:
            raise NotKept(f"groups nested deeper than {DEEPEST}")
        if self._take("?"):
            if self._take("=") or self._take("!") or self._take("<=") or self._take("<!"):
                raise NotKept("look-around")
            if self._take(">"):
                raise NotKept("an atomic group")
            if self._take("P<") or self._take("<"):
                self._at = self._text.find(">", self._at) + 1 or len(self._text)
            elif not self._take(":"):
                raise NotKept(f"a group that begins with (?{self._peek()}")
        found = self._choice()
        if not self._take(")"):
            raise ValueError("a group is not closed")
        self._depth -= 1
        return found

    def _escaped(self) -> Node:
        character = self._next()
        if character in _CLASSES:
            return Characters(_CLASSES[character])
        if character in _PLACES:
            return Anchor(_PLACES[character])
        if character in "123456789k":
            raise NotKept("a back reference")
        return self._characters(_bit(self._escaped_character(character)))

    def _escaped_character(self, character: str) -> str:
        if character in _HEX:
            digits = self._text[self._at : self._at + _HEX[character]]
            if len(digits) < _HEX[character] or not all(digit in "0123456789abcdefABCDEF" for digit in digits):
                raise ValueError(f"\\{character} without its digits")
            self._at += len(digits)
            return chr(int(digits, 16))
        if character in _CONTROL:
            return _CONTROL[character]
        if character.isascii() and character.isalnum():
            raise NotKept(f"\\{character}")
        return character

    def _next(self) -> str:
        character = self._peek()
        if not character:
            raise ValueError("a backslash at the end")
        self._at += 1
        return character

    def _class(self) -> Node:
        negated = self._take("^")
        members = 0
        first = True
        while first or self._peek() != "]":
            low = self._member()
            first = False
            if self._peek() == "-" and self._text[self._at + 1 : self._at + 2] not in ("", "]"):
                self._at += 1
                high = self._member()
                if isinstance(low, int) or isinstance(high, int):
                    raise ValueError("a class of characters at the end of a range")
                if high < low:
                    raise ValueError(f"the range {low}-{high} is empty")
                last = min(ord(high), OTHER)
                members |= ((1 << last - min(ord(low), OTHER) + 1) - 1) << min(ord(low), OTHER)
            else:
                members |= low if isinstance(low, int) else _bit(low)
        self._at += 1
        folded = self._characters(members).members
        return Characters(ANY & ~folded if negated else folded)

    def _member(self) -> str | int:
        """A character of a class, or the set that a name like `\\d` stands for."""
        character = self._peek()
        if not character:
            raise ValueError("a class of characters is not closed")
        self._at += 1
        if character != "\\":
            return character
        character = self._next()
        if character in _CLASSES:
            return _CLASSES[character]
        return "\b" if character == "b" else self._escaped_character(character)

    def _characters(self, members: int) -> Characters:
        if not self._match_case:
            members |= (members & _UPPER) << _CASE | (members & _LOWER) >> _CASE
        return Characters(members)


def _bit(character: str) -> int:
    return 1 << min(ord(character), OTHER)
