"""Which packet ids of one direction under one key have been seen: a ring of 128 words of 64 bits, one being filled.

Rules: an id is asked about before its packet is opened, and remembered once that has authenticated; what is older than
the window counts as seen. OpenVPN remembers 64 by default, which drops good packets on fast or striped links, and
SIP022 gives no number: remembering more admits no packet twice.

Read first: RFC 6479, whose algorithm this is; the WireGuard paper, §5.4.6; SIP022 §3.2.4.
"""

from __future__ import annotations

_WORDS = 128
WINDOW = (_WORDS - 1) * 64
"""Ids behind the highest one that are remembered; what is older is refused."""


class ReplayWindow:
    """See the module; `first` is the id that packets begin with, at most 64: those before it count as seen."""

    __slots__ = ("_highest", "_words")

    def __init__(self, first: int = 0) -> None:
        self._highest = first - 1
        self._words = [0] * _WORDS
        self._words[0] = (1 << first) - 1

    def is_new(self, packet: int) -> bool:
        """Return True if the id has not been seen and is not too old to know. Changes nothing."""
        if packet > self._highest:
            return True
        if packet + WINDOW < self._highest:
            return False
        return not self._words[packet >> 6 & 127] >> (packet & 63) & 1

    @property
    def next(self) -> int:
        """The id after the highest that was seen: what comes when nothing is lost."""
        return self._highest + 1

    def add_next(self, count: int) -> None:
        """Remember the next `count` ids, whose packets have authenticated."""
        words, before = self._words, self._highest >> 6
        first, last = self._highest + 1, self._highest + count
        for word in range(first >> 6, (last >> 6) + 1):
            start, end = max(first, word << 6), min(last, word << 6 | 63)
            bits = (1 << end - start + 1) - 1 << (start & 63)
            words[word & 127] = bits if word > before else words[word & 127] | bits
        self._highest = last

    def add(self, packet: int) -> None:
        """Remember an id that `is_new`, once its packet has authenticated."""
        highest = self._highest
        if packet > highest:
            first, last = highest >> 6, packet >> 6
            if last != first:
                words = self._words
                for word in range(max(first + 1, last - _WORDS + 1), last + 1):
                    words[word & 127] = 0
            self._highest = packet
        self._words[packet >> 6 & 127] |= 1 << (packet & 63)
