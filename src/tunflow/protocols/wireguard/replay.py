"""Which counters have been seen under one key: a ring of 128 words of 64 bits, of which one is always being filled.

Read first: RFC 6479, whose algorithm this is; the paper, §5.4.6.
"""

from __future__ import annotations

_WORDS = 128
WINDOW = (_WORDS - 1) * 64
"""Counters behind the highest one that are remembered; what is older is refused."""


class ReplayWindow:
    """The counters of one direction."""

    __slots__ = ("_highest", "_words")

    def __init__(self) -> None:
        self._highest = 0
        self._words = [0] * _WORDS

    def is_new(self, counter: int) -> bool:
        """Return True if the counter has not been seen and is not too old to know. Changes nothing."""
        if counter > self._highest:
            return True
        if counter + WINDOW < self._highest:
            return False
        return not self._words[counter >> 6 & 127] >> (counter & 63) & 1

    @property
    def next(self) -> int:
        """The counter after the highest that was seen: what comes when nothing is lost."""
        return self._highest + 1

    def add_next(self, count: int) -> None:
        """Remember the next `count` counters, whose messages have authenticated."""
        words, before = self._words, self._highest >> 6
        first, last = self._highest + 1, self._highest + count
        for word in range(first >> 6, (last >> 6) + 1):
            start, end = max(first, word << 6), min(last, word << 6 | 63)
            bits = (1 << end - start + 1) - 1 << (start & 63)
            words[word & 127] = bits if word > before else words[word & 127] | bits
        self._highest = last

    def add(self, counter: int) -> None:
        """Remember a counter that `is_new`, once its message has authenticated."""
        highest = self._highest
        if counter > highest:
            first, last = highest >> 6, counter >> 6
            if last != first:
                words = self._words
                for word in range(max(first + 1, last - _WORDS + 1), last + 1):
                    words[word & 127] = 0
            self._highest = counter
        self._words[counter >> 6 & 127] |= 1 << (counter & 63)
