"""How much bulk senders may have in the device's queue, in front of which everybody else's packets wait.

The queue is the kernel's, first come first served. What clients may send at once is what we offered them, so while more
comes than one round can take, and somebody else's packets come with it, every window narrows (docs/adr/0014).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from tunflow.stack.budget import MemoryBudget
from tunflow.stack.stack import RECEIVE_LIMIT

LARGE = 16 * 1024
"""Bytes of a packet from which on it counts as a super-segment."""

STANDING = 2
"""Rounds in a row that did not empty the queue, from which on it counts as a standing one."""

SMALLEST_WINDOW = 64 * 1024
STEP = 64 * 1024
"""Windows narrow to one super-segment, a super-segment at a time."""

SPARED_FOR = 0.1
"""Seconds after a small packet for which the queue in front of the next one is kept short."""


class StandingQueue:
    """Sets `budget.widest` by what was read from the device."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self._rounds = 0
        self._small_at = -inf
        budget.widest = RECEIVE_LIMIT

    def is_bulk(self, packets: Sequence[bytes], now: float) -> bool:
        """Return True if the batch ends with a super-segment; more of its kind come then."""
        if len(packets[-1]) < LARGE:
            self._small_at = now
            return False
        if any(len(packet) < LARGE for packet in packets):
            self._small_at = now
        return True

    def end_round(self, drained: bool, now: float) -> None:
        """The device was read for this time; `drained`: until nothing was left."""
        budget = self._budget
        self._rounds = 0 if drained else self._rounds + 1
        if self._rounds >= STANDING and now - self._small_at < SPARED_FOR:
            if budget.widest > SMALLEST_WINDOW:
                budget.widest -= STEP
        elif budget.widest < RECEIVE_LIMIT:
            budget.widest += STEP
