"""Rules about URLs, found without trying them all.

- A rule about one host (`||example.com/path`) is filed under that host, and tried on the path alone. Whoever asks has
  a table of names anyway, and says which of these hosts a URL lies below.
- Another is filed under a word that the pattern surely demands: a run of letters, digits or `%` with something else on
  both sides. Of several words the one counts that the fewest rules of the whole list demand.
- One that demands no word is tried for every URL, as long as they are few. Of many, each is filed under four characters
  that stand together in it.
- Regular expressions are tried together, as one automaton, and one by one only where that finds something: on the URL,
  and on the bare name of the host, which is what lists for name servers write them for.

Whoever asks says what an answer may cost: a page chooses its URLs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tunflow.filter.list_line import URLRule
from tunflow.filter.wildcard import Text, holds
from tunflow.rules.expression import Allowance, Automaton
from tunflow.rules.expression_syntax import Node, NotKept, parse_expression

GRAM = 4
"""Characters. Fewer would stand in most URLs, more in too few patterns."""
FEW = 16
"""Rules that demand no word, up to which all of them are tried."""
MOST_ALWAYS = 200
"""Rules that are tried for every URL: more would use up what an answer may cost."""
_LOOK, _LOOKED = 2, 4
"""What looking for a rule's text costs, in the steps of an `Allowance`, and the logarithm of characters in one step."""
LARGEST_TOGETHER = 4000
"""Characters of all regular expressions of a list together."""

_DEMANDED = re.compile(r"(?<![a-z0-9%*])[a-z0-9%]{2,}(?![a-z0-9%*])")
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
    spared: tuple[str, ...]
    """Names for which it does not hold, nor for those below them."""
    text: str
    """What stands in everything that it holds for, in lower case; the pattern itself where that is all it says."""

    def holds(self, text: Text, allowance: Allowance) -> bool:
        """Whether it holds for a URL in which its text stands. Raises OutOfAllowance."""
        return (self.text is self.pattern and not self.match_case) or holds(self, text, allowance)


class Expression(NamedTuple):
    """A rule that is a regular expression."""

    filed: Filed
    root: Node
    automaton: Automaton


class URLRules:
    """Many rules, asked together."""

    def __init__(self) -> None:
        self._by_host: dict[str, list[Filed]] = {}
        self._waiting: list[Filed] = []
        """Rules about any host, before `close` files them."""
        self._by_word: dict[str, list[Filed]] = {}
        self._by_gram: dict[str, list[Filed]] = {}
        self._always: list[Filed] = []
        self._expressions: list[Expression] = []
        self._together: Automaton | None = None
        self._size = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

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

    def remove(self, rule: URLRule) -> None:
        """Forget all rules that say the same."""
        if is_expression(rule.pattern):
            same = rule.pattern, rule.strength, rule.match_case, rule.spared
            kept = [each for each in self._expressions if _said(each.filed) != same]
            self._count -= len(self._expressions) - len(kept)
            self._expressions = kept
            return
        host, filed = _filed(rule, 0)
        place = self._waiting if host is None else self._by_host.get(host, [])
        before = len(place)
        place[:] = [each for each in place if _said(each) != _said(filed)]
        if host is not None:
            self._count -= before - len(place)

    def close(self) -> Counter[str]:
        """File what was added; afterwards it can be asked. How many rules are not kept, by the reason."""
        demanded = [set(_demanded_words(filed.pattern)) for filed in self._waiting]
        counts: Counter[str] = Counter()
        for words in demanded:
            counts.update(words)
        without: list[Filed] = []
        for filed, words in zip(self._waiting, demanded, strict=True):
            if words:
                best = min(words, key=lambda word: (word in _EVERYWHERE, counts[word], -len(word), word))
                self._by_word.setdefault(best, []).append(filed)
            else:
                without.append(filed)
        for filed in without:
            text = filed.text.strip("|")
            if len(without) <= FEW or len(text) < GRAM:
                self._always.append(filed)
            else:
                _least(self._by_gram, [text[at : at + GRAM] for at in range(len(text) - GRAM + 1)]).append(filed)
        not_kept = len(self._always[MOST_ALWAYS:])
        del self._always[MOST_ALWAYS:]
        self._count += len(self._waiting) - not_kept
        self._waiting = []
        if self._expressions:
            self._together = Automaton([each.root for each in self._expressions], LARGEST_TOGETHER)
        return Counter({"without a text of four characters, beyond the first 200": not_kept} if not_kept else {})

    def matching(self, host: str, text: Text, hosts: Iterable[str], allowance: Allowance) -> list[Filed]:
        """The rules that hold for a URL, which has a path; `hosts`: names that it lies below, all that have rules.

        Raises OutOfAllowance.
        """
        small = text.small
        places = [self._always]
        found: list[Filed] = []
        by_host = self._by_host
        for name in hosts:
            place = by_host.get(name)
            if place is not None:
                found += _holding((place,), text.path, allowance)
        by_word, by_gram = self._by_word, self._by_gram
        if by_word:
            places += map(by_word.__getitem__, by_word.keys() & text.words)
        if by_gram:
            allowance.spend(len(small) << 1)
            grams = {small[at : at + GRAM] for at in range(len(small) - GRAM + 1)}
            places += map(by_gram.__getitem__, by_gram.keys() & grams)
        found += _holding(places, text, allowance)
        if self._together is not None:
            found += self._matching_expressions(self._together, (text.raw, host), allowance)
        return [each for each in found if not each.spared or not _is_below(host, each.spared)] if found else found

    def _matching_expressions(self, together: Automaton, texts: Sequence[str], allowance: Allowance) -> list[Filed]:
        found = []
        for text in texts:
            if together.found_in(text, allowance):
                found += [each.filed for each in self._expressions if each.automaton.found_in(text, allowance)]
        return found

    def _add_expression(self, rule: URLRule, where: int) -> None:
        root = parse_expression(rule.pattern[1:-1], match_case=rule.match_case)
        automaton = Automaton([root])
        if self._size + automaton.size > LARGEST_TOGETHER:
            raise NotKept("more than can be tried on every URL")
        self._size += automaton.size
        self._count += 1
        filed = Filed(where, rule.strength, rule.pattern, rule.match_case, rule.spared, "")
        self._expressions.append(Expression(filed, root, automaton))


def _holding(places: Iterable[list[Filed]], text: Text, allowance: Allowance) -> list[Filed]:
    small = text.small
    cost = _LOOK + (len(small) >> _LOOKED)
    found = []
    for place in places:
        allowance.spend(len(place) * cost)
        for each in place:
            if each.text in small and each.holds(text, allowance):
                found.append(each)
    return found


def _filed(rule: URLRule, where: int) -> tuple[str | None, Filed]:
    """The host that a rule is about, if it is about one, and what is filed."""
    pattern = rule.pattern if rule.match_case else rule.pattern.lower()
    of_host = _OF_HOST.fullmatch(pattern)
    if of_host is not None:
        pattern = f"|{of_host[2]}"
    text = _demanded_text(pattern)
    filed = Filed(where, rule.strength, pattern, rule.match_case, rule.spared, pattern if text == pattern else text)
    return None if of_host is None else of_host[1].lower(), filed


def _said(filed: Filed) -> tuple[str, int, bool, tuple[str, ...]]:
    return filed.pattern, filed.strength, filed.match_case, filed.spared


def _is_below(host: str, names: Iterable[str]) -> bool:
    return any(host == name or host.endswith("." + name) for name in names)


def _least(places: dict[str, list[Filed]], keys: list[str]) -> list[Filed]:
    """The list of that key under which the fewest rules are filed so far; of several such the longest key's."""
    best = min(keys, key=lambda key: (key in _EVERYWHERE, len(places.get(key, ())), -len(key)))
    return places.setdefault(best, [])


def is_expression(pattern: str) -> bool:
    """Whether a pattern is a regular expression."""
    return len(pattern) > 2 and pattern[0] == "/" and pattern[-1] == "/"


def _demanded_text(pattern: str) -> str:
    """The longest text that a pattern surely demands; "" where it demands none.

    It ends where its first character comes for the third time: looking for such a text compares no character of a URL
    more than a few times, whatever the URL.
    """
    text = max(_WILD.split(pattern.lower()), key=len)
    parts = text[1:].split(text[:1], 2) if text else []
    return text if len(parts) < 3 else text[: -len(parts[2]) - 1]


def _demanded_words(pattern: str) -> list[str]:
    text = pattern.lower()
    # At either end a longer word may go on, unless an anchor says that it does not.
    bounded = f"{'' if text.startswith('|') else '*'}{text}{'' if text.endswith(('|', '^')) else '*'}"
    return _DEMANDED.findall(bounded.replace("|", "/"))
