"""When a queue has stood for too long, and something of it is to be dropped: CoDel, for whoever reads in batches.

A sender fills whatever queue lies before the slowest part of its way, and everything else then waits behind. Dropping a
packet tells it to slow down. A burst that is gone within an interval costs nothing.

Read first: RFC 8289 §4 and §5.
"""

from __future__ import annotations

from math import inf, sqrt

TARGET = 0.0015
"""Seconds that what is read may have waited, or the queue may not have been empty."""
INTERVAL = 0.03
"""Seconds that it may have been more, always: some round trips of the flows that are fast enough to fill us."""
FORGETS_AFTER = 16 * INTERVAL
"""Seconds after which a queue that stands again is a new one."""
BULK = 512
"""Bytes: smaller packets are not what fills a queue, and are let alone."""


class CoDel:
    """One queue."""

    __slots__ = ("_above_since", "_before", "_dropping", "_drops", "_emptied", "_next")

    def __init__(self) -> None:
        self._above_since = inf
        self._dropping = False
        self._next = -inf
        """When the next drop is due, while dropping."""
        self._drops = 0
        """Of this spell; the more, the shorter the pauses between."""
        self._before = 0
        """What `_drops` was when this spell began."""
        self._emptied = inf
        """When a read last found the end of the queue."""

    def thinned(self, packets: list[bytes], most: int, now: float) -> list[bytes]:
        """Return what one read of at most `most` packets gave, without what is to be dropped of it.

        For a queue that does not tell how long its packets waited: they did since it was last empty.
        """
        if len(packets) < most or self._emptied == inf:
            self._emptied = now
        surplus = self.surplus(now - self._emptied, now)
        if not surplus:
            return packets
        kept = []
        for packet in packets:
            if surplus and len(packet) > BULK:
                surplus -= 1
            else:
                kept.append(packet)
        return kept

    def surplus(self, waited: float, now: float) -> int:
        """Return how many packets to drop of what was read now, which had waited for `waited` seconds."""
        if waited < TARGET:
            self._above_since = inf
            self._dropping = False
            return 0
        if self._above_since == inf:
            self._above_since = now
        if now - self._above_since < INTERVAL:
            return 0
        if not self._dropping:
            self._dropping = True
            recent = self._drops - self._before if now - self._next < FORGETS_AFTER else 0
            self._drops = self._before = max(recent, 1)
            self._next = now + INTERVAL / sqrt(self._drops)
            return 1
        due = 0
        while self._next <= now:
            due += 1
            self._drops += 1
            self._next += INTERVAL / sqrt(self._drops)
        return due
