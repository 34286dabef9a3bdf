"""Which of very many texts stand in a URL, without looking for each of them.

Each text is filed under a word of the pattern that it is from: a run of letters, digits or `%` with something else on
both sides. A URL has some twenty words, so only the texts filed under one of those are looked for. Of several words
the one counts that the fewest URLs have, as far as is known; where they are all frequent (`/js/ads/`), two that follow
one another are taken for one.

A pattern without such a word (`adsfooter`) has its text looked for in every URL, as long as there are few. Of many,
each is filed under four characters that stand together in it.

In a long URL a text is looked for around its word only, where it must stand there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from typing import NamedTuple, TypeVar

from tunflow.rules.expression import Allowance

GRAM = 4
"""Characters. Fewer would stand in most URLs, more in too few patterns."""
FEW = 16
"""Texts without a word, up to which all of them are looked for."""
MOST_ALWAYS = 200
"""Texts that are looked for in every URL: more would use up what an answer may cost."""
MANY_WORDS = 48
"""Words of a URL from which on it is worth the time to take each once."""
LONG = 1024
"""Characters of a URL from which on texts are looked for around their words."""
_LOOK, _LOOKED = 2, 4
"""What looking for a text costs, in the steps of an `Allowance`, and the logarithm of characters in one step."""
_AROUND = 16
"""What it costs to cut out the surroundings of a word, each time that it stands there."""

_DEMANDED = re.compile(r"(?<![a-z0-9%*])[a-z0-9%]{2,}(?![a-z0-9%*])")
_PAIRS = re.compile(r"(?<![a-z0-9%*])([a-z0-9%]+)(?=[^a-z0-9%*]+([a-z0-9%]+)(?![a-z0-9%*]))")
_IN_WORDS = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789%")
_AS_WORDS = bytes(code if code in _IN_WORDS else 32 for code in range(256))
_NOWHERE = "\n"
"""Stands between two pieces of a URL: no text has it."""

_OFTEN = {
    1000: "http", 700: "com", 400: "js www", 150: "net", 100: "static https", 80: "css min html", 60: "cdn id ads",
    50: "en google url callback org", 40: "php v2 assets us ad", 30: "300 true api fonts json img images co uk png jpg",
    20: "index site type version analytics show content main media page data app common video user de gif v1 lib src",
    10: "wp plugins scripts script uploads themes modules library files file upload public dist build bundle home",
}  # fmt: skip
_SHARE = {word: share for share, words in _OFTEN.items() for word in words.split()}
"""Of a thousand URLs of web pages, how many have a word, roughly."""
_SHARE_OF_OTHERS, _SHARE_OF_LETTERS = 2, 50

Texts = tuple[str, ...]
Pair = tuple[bytes, bytes]
Key = TypeVar("Key")


class Text(NamedTuple):
    """What is to be filed."""

    text: str
    """In lower case."""
    pattern: str
    """What demands it, in lower case and Adblock's syntax."""


class TextIndex:
    """Texts, asked for together; immutable once it is made."""

    __slots__ = ("_afar", "_always", "_by_gram", "_by_pair", "_by_word")

    def __init__(self) -> None:
        self._by_word: dict[bytes, Texts] = {}
        self._by_pair: dict[Pair, Texts] = {}
        """By two words with nothing but signs between them."""
        self._by_gram: dict[str, Texts] = {}
        self._always: Texts = ()
        self._afar: set[str] = set()
        """Those in `_by_word` that need not stand around their words."""

    @classmethod
    def of(cls, texts: Collection[Text]) -> tuple[TextIndex, set[int]]:
        """Return an index, and the places of those that are too many to be looked for in every URL."""
        made, filing = cls(), _Filing(texts)
        made._by_word = {word.encode(): _each_once(some) for word, some in filing.by_word.items()}
        made._by_pair = {
            (one.encode(), other.encode()): _each_once(some) for (one, other), some in filing.by_pair.items()
        }
        made._by_gram = {gram: _each_once(some) for gram, some in filing.by_gram.items()}
        made._always = _each_once(filing.always)
        made._afar = filing.afar
        return made, filing.left_out

    @classmethod
    def joined(cls, indexes: Sequence[TextIndex]) -> TextIndex:
        """Return one for the texts of all."""
        indexes = [each for each in indexes if each]
        if len(indexes) == 1:
            return indexes[0]
        made = cls()
        for each in indexes:
            _add(made._by_word, each._by_word)
            _add(made._by_pair, each._by_pair)
            _add(made._by_gram, each._by_gram)
            made._always = _each_once((*made._always, *each._always))
            made._afar |= each._afar
        return made

    def __bool__(self) -> bool:
        return bool(self._by_word or self._by_pair or self._by_gram or self._always)

    def standing(self, small: str, allowance: Allowance) -> Sequence[str]:
        """The texts that stand in a URL in lower case. Raises OutOfAllowance."""
        size = len(small)
        spaced = small.encode().translate(_AS_WORDS)
        words = spaced.split()
        if size > LONG or len(words) > MANY_WORDS:
            allowance.spend(size)  # for its words
            found = self._standing_in_long(small, spaced, words, allowance)
        else:
            places = [*filter(None, map(self._by_pair.get, pairwise(words)))]
            places += filter(None, map(self._by_word.get, words))
            if self._by_gram:
                allowance.spend(size << 1)
                places += self._places_of_grams(small)
            if self._always:
                places.append(self._always)
            if not places:
                allowance.spend(size)
                return ()
            # Before they are put together: a list may have filed all here.
            allowance.spend(size + sum(map(len, places)) * (_LOOK + (size >> _LOOKED)))
            found = [*filter(small.__contains__, chain.from_iterable(places))]
        return found if len(found) < 2 else _each_once(found)

    def _standing_in_long(self, small: str, spaced: bytes, words: Sequence[bytes], allowance: Allowance) -> list[str]:
        """The same of a URL of many words, or of very many characters."""
        places = [*filter(None, map(self._by_pair.get, dict.fromkeys(pairwise(words))))]
        different = dict.fromkeys(words)
        around: list[str] = []
        if len(small) <= LONG:
            places += filter(None, map(self._by_word.get, different))
        else:
            around = self._standing_around(small, b" %b " % spaced, different, allowance)
        if self._by_gram:
            allowance.spend(len(small) << 1)
            places += self._places_of_grams(small)
        return [*around, *self._among(places, small, allowance)]

    def _among(self, places: Sequence[Texts], small: str, allowance: Allowance) -> Iterator[str]:
        """Those of some places, and of those that are looked for always, that stand in a URL."""
        count = sum(map(len, places)) + len(self._always)
        allowance.spend(count * (_LOOK + (len(small) >> _LOOKED)))
        return filter(small.__contains__, chain(chain.from_iterable(places), self._always))

    def _places_of_grams(self, small: str) -> list[Texts]:
        grams = {small[at : at + GRAM] for at in range(len(small) - GRAM + 1)}
        return [self._by_gram[gram] for gram in self._by_gram.keys() & grams]

    def _standing_around(self, small: str, spaced: bytes, words: Iterable[bytes], allowance: Allowance) -> list[str]:
        """The texts filed under words that stand in a long URL; `spaced` is that with blanks for all else, and one in
        front and behind."""
        found: list[str] = []
        for word in words:
            texts = self._by_word.get(word)
            if texts is not None:
                around = _around(small, spaced, b" %b " % word, max(map(len, texts)), allowance)
                found += _standing(texts, around, allowance)
                found += _standing(self._afar.intersection(texts), small, allowance)
        return found


class _Filing:
    """Finds the place for each of many texts."""

    def __init__(self, texts: Collection[Text]) -> None:
        self.by_word: dict[str, list[str]] = {}
        self.by_pair: dict[tuple[str, str], list[str]] = {}
        self.by_gram: dict[str, list[str]] = {}
        self.always: list[str] = []
        self.left_out: set[int] = set()
        self.afar: set[str] = set()
        demanded = [_DEMANDED.findall(_bounded(pattern)) for _, pattern in texts]
        counts = Counter(chain.from_iterable(demanded))
        without: list[tuple[int, str]] = []
        for place, ((text, pattern), words) in enumerate(zip(texts, demanded, strict=True)):
            if words:
                best = min(words, key=lambda word: (_SHARE.get(word, 0), counts[word], -len(word), word))
                pairs = _PAIRS.findall(_bounded(pattern)) if counts[best] > 1 or best in _SHARE else ()
                self._file(text, best, min(pairs, key=_share_of_pair, default=None))
            else:
                without.append((place, text))
        self._file_without_words(without)

    def _file(self, text: str, word: str, pair: tuple[str, str] | None) -> None:
        if pair is not None and _share_of_pair(pair) < 1000 * max(_SHARE.get(word, 0), 1):
            self.by_pair.setdefault(pair, []).append(text)
            return
        self.by_word.setdefault(word, []).append(text)
        if f" {word} ".encode() not in text.encode().translate(_AS_WORDS):
            self.afar.add(text)

    def _file_without_words(self, texts: Sequence[tuple[int, str]]) -> None:
        by_gram = self.by_gram
        for place, text in texts:
            if len(texts) > FEW and len(text) >= GRAM:
                grams = [text[at : at + GRAM] for at in range(len(text) - GRAM + 1)]
                best = min(grams, key=lambda gram: (_SHARE.get(gram, 0), len(by_gram.get(gram, ()))))
                by_gram.setdefault(best, []).append(text)
            elif len(self.always) < MOST_ALWAYS:
                self.always.append(text)
            else:
                self.left_out.add(place)


def _add(into: dict[Key, Texts], more: Mapping[Key, Texts]) -> None:
    for key, texts in more.items():
        into[key] = _each_once((*into[key], *texts)) if key in into else texts


def _each_once(texts: Iterable[str]) -> Texts:
    return tuple(dict.fromkeys(texts))


def _standing(texts: Collection[str], small: str, allowance: Allowance) -> Iterator[str]:
    allowance.spend(len(texts) * (_LOOK + (len(small) >> _LOOKED)))
    return filter(small.__contains__, texts)


def _around(small: str, spaced: bytes, word: bytes, reach: int, allowance: Allowance) -> str:
    """What stands around a word, wherever it does; `spaced` and `word` have a blank in front and behind."""
    at, until, pieces = spaced.find(word), 0, []
    while at >= 0:
        allowance.spend(_AROUND)
        start, end = max(until, at - reach), at + len(word) - 2 + reach
        if start > until:
            pieces.append(_NOWHERE)
        pieces.append(small[start:end])
        until = end
        at = spaced.find(word, at + len(word) - 1)
    return "".join(pieces)


def _bounded(pattern: str) -> str:
    """At either end a longer word may go on, unless an anchor says that it does not."""
    start, end = "" if pattern.startswith("|") else "*", "" if pattern.endswith(("|", "^")) else "*"
    return f"{start}{pattern}{end}".replace("|", "/")


def share_of(text: Text) -> int:
    """Return of how many URLs out of a million one would have to be searched for a text, roughly."""
    pattern = _bounded(text.pattern)
    words = [1000 * _share_of_word(word) for word in _DEMANDED.findall(pattern)]
    return min((*words, *map(_share_of_pair, _PAIRS.findall(pattern))), default=1_000_000)


def _share_of_word(word: str) -> int:
    """Of a thousand URLs, how many have a word."""
    return _SHARE.get(word, _SHARE_OF_OTHERS if len(word) > 1 else _SHARE_OF_LETTERS)


def _share_of_pair(pair: tuple[str, str]) -> int:
    """Of a million URLs, how many have both words."""
    return _share_of_word(pair[0]) * _share_of_word(pair[1])
