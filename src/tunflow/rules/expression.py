"""Regular expressions that cost the same whatever they are compared with.

A backtracking engine takes exponential time where repetitions stand within repetitions, and a page chooses the names
and URLs that expressions are compared with. Here an expression is an automaton (Glushkov's: one state for each
character of the expression, no others), and all the states that it may be in are followed at once, as bits of one
number. A set of states that has been met is kept with what follows it for each character, so that a text costs one
look-up of a dictionary for each of its characters.

What is new costs more. `Allowance` counts both, and is what makes a bound: whoever asks says how much one question may
cost, and `OutOfAllowance` ends it.

Read first: Glushkov, "The abstract theory of automata", 1961; Navarro & Raffinot, "Fast and simple character classes
and bounded gaps pattern matching", 2003.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache, reduce
from itertools import compress
from operator import or_

from tunflow.rules.expression_syntax import (
    AT_END,
    AT_START,
    AT_WORD_EDGE,
    INSIDE_WORD,
    OTHER,
    Anchor,
    Characters,
    Choice,
    Node,
    NotKept,
    Repeat,
    Series,
    parse_expression,
)

LARGEST = 500
"""Characters of one expression, repetitions written out."""
LONGEST_MAKING = 100_000
"""Steps to make one automaton of; more are taken only by what was written to take them."""
KEPT_AUTOMATA = 128
"""Expressions whose sets of states are kept."""
KEPT_SETS = 128
"""Sets of states kept for one expression: what a text makes beyond that is forgotten with the next one."""
NEW_SET = 60
NEW_CHARACTER = 8
"""What a new set of states costs, with 2 for each kind of way between states, and what a character costs that is like
one that led there before; where following a known one costs 1 (some 40 ns)."""

_NOT_ASCII = "\x80"
_END = ""
"""Stands behind the last character."""
_WORD_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_STRIDE = 32
"""Characters after which it is looked whether the rest counts."""

_Masks = dict[int, int]
"""Conditions on a place -> the states that are meant where they hold."""


class OutOfAllowance(Exception):
    """An answer would cost more than it may."""


class Allowance:
    """How much the answer to one question may still cost, in steps of some 40 ns."""

    __slots__ = ("left",)

    def __init__(self, steps: int) -> None:
        self.left = steps

    def spend(self, steps: int) -> None:
        """Raises OutOfAllowance when that is more than is left."""
        self.left -= steps
        if self.left < 0:
            raise OutOfAllowance


class _Fragment:
    """A part of an automaton: where it may begin and end, and on which conditions it may be empty."""

    __slots__ = ("empty", "first", "last")

    def __init__(self, first: _Masks, last: _Masks, empty: frozenset[int]) -> None:
        self.first = first
        self.last = last
        self.empty = empty


_NOTHING = _Fragment({}, {}, frozenset((0,)))


class Automaton:
    """One or more expressions, any of which may be found anywhere in a text."""

    __slots__ = (
        "_bounded",
        "_classes",
        "_end",
        "_entered",
        "_jumps",
        "_kinds",
        "_like",
        "_loops",
        "_restarts",
        "_steps",
        "size",
    )

    def __init__(self, roots: Iterable[Node], largest: int = LARGEST) -> None:
        """Raises NotKept for what has more than `largest` states, and what takes too long to make."""
        made = _Making(roots, largest)
        self._classes = made.classes
        self._bounded = made.bounded
        """True if it matters whether the last character was one of a word."""
        self.size = len(made.follow)
        """How many states it has."""
        self._end = 1 << self.size
        self._restarts = any(not condition & AT_START for condition in made.follow[0])
        self._like: dict[str, str] = {}
        self._kinds: dict[tuple[bool, ...], str] = {}
        self._entered: dict[str, int] = {}
        """Characters -> the states that are entered by them."""
        self._steps = self._loops = 0
        """States that the next one may follow, and that they may follow themselves."""
        jumps: dict[tuple[int, int], int] = {}
        for state, masks in enumerate(made.follow):
            this, behind = 1 << state, 2 << state
            for condition, mask in masks.items():
                if not condition:
                    self._loops |= mask & this
                    self._steps |= (mask & behind) >> 1
                more = mask if condition else mask & ~(this | behind)
                if more:
                    jumps[condition, more] = jumps.get((condition, more), 0) | this
        self._jumps = [(condition, before, after) for (condition, after), before in jumps.items()]
        """Where else: on which condition, from which states, to which."""

    @property
    def cost(self) -> int:
        """What a new set of states costs."""
        return NEW_SET + 2 * len(self._jumps)

    def found_in(self, text: str, allowance: Allowance) -> bool:
        """Return True if it is found in a text. Raises OutOfAllowance."""
        allowance.spend(len(text))
        start = _start_of(self)
        if start.table.is_full:
            start.table.forget()
            start = start.table.start
        start.table.allowance = allowance
        state = start
        for at in range(0, len(text), _STRIDE):
            for character in text[at : at + _STRIDE]:
                state = state[character]
            if state.settled:
                return state.accepts
        return state[_END].accepts

    def after(self, states: int, conditions: int, character: str) -> int:
        """The states that follow on a character, and `end` if the expression ends before it."""
        following = (states & self._steps) << 1 | states & self._loops
        for condition, before, after in self._jumps:
            if states & before and not condition & ~conditions:
                following |= after
        if following & self._end:
            return self._end
        if character == _END:
            return 0
        return following & self._entered[character] | self._restarts

    def like(self, character: str, allowance: Allowance) -> str:
        """The first character asked for that no expression here can tell from this one. Raises OutOfAllowance."""
        found = self._like.get(character)
        if found is None:
            allowance.spend(2 * len(self._classes))
            bit = 1 << min(ord(character), OTHER)
            kinds = *(bool(members & bit) for members in self._classes), character in _WORD_CHARACTERS
            found = self._like[character] = self._kinds.setdefault(kinds, character)
            self._entered[found] = reduce(or_, compress(self._classes.values(), kinds), 0)
        return found

    def is_end(self, states: int) -> bool:
        """Return True if the expression was found."""
        return states == self._end

    @property
    def bounded(self) -> bool:
        """True if it matters whether the last character was one of a word."""
        return self._bounded


class _Making:
    """Makes the states of expressions, and which of them follow on which; state 0 is the start."""

    def __init__(self, roots: Iterable[Node], largest: int) -> None:
        self._largest = largest
        self._left = LONGEST_MAKING * largest // LARGEST
        self.follow: list[_Masks] = [{}]
        self.classes: dict[int, int] = {}
        """Sets of characters -> the states that are entered by one of them."""
        self.bounded = False
        """True if an expression asks for the edges of words."""
        whole = self._choice([self._made(root) for root in roots])
        self.follow[0] = whole.first
        end = 1 << len(self.follow)
        for condition, states in whole.last.items():
            for state in _bits(states):
                self._link(state, condition, end)
        for condition in whole.empty:
            self._link(0, condition, end)

    def _made(self, node: Node) -> _Fragment:
        self._step()
        if isinstance(node, Characters):
            state = len(self.follow)
            if state > self._largest:
                raise NotKept(f"longer than {self._largest} characters with its repetitions written out")
            self.follow.append({})
            self.classes[node.members] = self.classes.get(node.members, 0) | 1 << state
            return _Fragment({0: 1 << state}, {0: 1 << state}, frozenset())
        if isinstance(node, Anchor):
            self.bounded |= bool(node.condition & (AT_WORD_EDGE | INSIDE_WORD))
            return _Fragment({}, {}, frozenset((node.condition,)))
        if isinstance(node, Series):
            made = _NOTHING
            for part in node.parts:
                made = self._series(made, self._made(part))
            return made
        if isinstance(node, Choice):
            return self._choice([self._made(option) for option in node.options])
        return self._repeat(node)

    def _repeat(self, node: Repeat) -> _Fragment:
        made = _NOTHING
        for _ in range(node.least - (node.most is None and node.least > 0)):
            made = self._series(made, self._made(node.part))
        if node.most is None:
            part = self._made(node.part)
            self._connect(part, part)
            more = part if node.least else _optional(part)
        else:
            more = _NOTHING
            for _ in range(node.most - node.least):
                more = _optional(self._series(self._made(node.part), more))
        return self._series(made, more)

    def _series(self, left: _Fragment, right: _Fragment) -> _Fragment:
        if left is _NOTHING:
            return right
        self._connect(left, right)
        first, last = dict(left.first), dict(right.last)
        for empty in left.empty:
            _merge(first, right.first, empty)
        for empty in right.empty:
            _merge(last, left.last, empty)
        return _Fragment(first, last, frozenset(one | other for one in left.empty for other in right.empty))

    @staticmethod
    def _choice(options: list[_Fragment]) -> _Fragment:
        first: _Masks = {}
        last: _Masks = {}
        for option in options:
            _merge(first, option.first, 0)
            _merge(last, option.last, 0)
        return _Fragment(first, last, frozenset().union(*(option.empty for option in options)))

    def _connect(self, left: _Fragment, right: _Fragment) -> None:
        for before, states in left.last.items():
            for behind, mask in right.first.items():
                for state in _bits(states):
                    self._link(state, before | behind, mask)

    def _link(self, state: int, condition: int, mask: int) -> None:
        self._step()
        masks = self.follow[state]
        masks[condition] = masks.get(condition, 0) | mask

    def _step(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise NotKept("too many ways through it")


class _States(dict[str, "_States"]):
    """A set of states, and for each character met so far the set that follows."""

    __slots__ = ("accepts", "conditions", "settled", "states", "table")

    def __init__(self, table: _Table, states: int, conditions: int, *, accepts: bool) -> None:
        self.table = table
        self.states = states
        self.conditions = conditions
        """`AT_START` at the start, and `AT_WORD_EDGE` behind a character of a word."""
        self.accepts = accepts
        self.settled = accepts or not states
        """True if what follows makes no difference."""

    def __missing__(self, character: str) -> _States:
        if self.settled:
            following = self
        else:
            like = self.table.like(character)
            following = self[like] if like != character else self.table.following(self, character)
        if character <= _NOT_ASCII:
            self[character] = following
        return following


class _Table:
    """The sets of states that texts have led to."""

    __slots__ = ("_automaton", "_known", "allowance", "start")

    def __init__(self, automaton: Automaton) -> None:
        self._automaton = automaton
        self._known: dict[tuple[int, int], _States] = {}
        self.allowance = Allowance(0)
        self.start = _States(self, 1, AT_START, accepts=False)

    @property
    def is_full(self) -> bool:
        return len(self._known) > KEPT_SETS

    def forget(self) -> None:
        self._known.clear()
        self.start = _States(self, 1, AT_START, accepts=False)

    def like(self, character: str) -> str:
        """A character of the same kind. Raises OutOfAllowance."""
        self.allowance.spend(NEW_CHARACTER)
        if not character.isascii():
            character = _NOT_ASCII
        return self._automaton.like(character, self.allowance) if character else character

    def following(self, before: _States, character: str) -> _States:
        """The set behind a character. Raises OutOfAllowance."""
        automaton = self._automaton
        self.allowance.spend(automaton.cost)
        is_word = character in _WORD_CHARACTERS
        edge = bool(before.conditions & AT_WORD_EDGE) != is_word
        conditions = before.conditions & AT_START | (AT_WORD_EDGE if edge else INSIDE_WORD)
        states = automaton.after(before.states, conditions | (AT_END if character == _END else 0), character)
        key = states, AT_WORD_EDGE * (automaton.bounded and is_word)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = _States(self, *key, accepts=automaton.is_end(states))
        return found


@lru_cache(maxsize=KEPT_AUTOMATA)
def _table_of(automaton: Automaton) -> _Table:
    return _Table(automaton)


def _start_of(automaton: Automaton) -> _States:
    return _table_of(automaton).start


def expression(text: str, *, match_case: bool = False) -> Automaton:
    """The automaton of one expression. Raises NotKept, and ValueError for what is no expression."""
    return Automaton([parse_expression(text, match_case=match_case)])


def _optional(made: _Fragment) -> _Fragment:
    return _Fragment(made.first, made.last, made.empty | {0})


def _merge(into: _Masks, other: _Masks, condition: int) -> None:
    for more, states in other.items():
        into[condition | more] = into.get(condition | more, 0) | states


def _bits(states: int) -> Iterator[int]:
    while states:
        low = states & -states
        yield low.bit_length() - 1
        states ^= low
