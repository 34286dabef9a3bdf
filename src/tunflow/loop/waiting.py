"""How the loop waits: asleep, or awake for a moment as long as the next event has mostly come at once.

A process that sleeps between two packets of one exchange wakes up with cold caches, and a Python call costs up to ten
times as much then. So while the mean wait is short, the loop asks epoll again and again for a moment before it sleeps,
and lets whoever else is ready run in between. It costs nothing where waits are longer, as they are wherever the far
side is not on this host or next to it (docs/adr/0016).
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable

SHORT = 100e-6
"""Seconds of the mean wait below which the loop stays awake."""

MOMENT = 200e-6
"""Seconds after which it sleeps all the same."""

LONG = 1e-3
"""Seconds that a wait counts at most: one of these, and only many short ones make the mean short again."""

FEW = 2
"""Events at once, above which the next wait is a sleep: enough happens to keep the caches warm, and others are busy."""

WEIGHT = 1 / 8
"""Of the last wait in the mean."""

Events = list[tuple[int, int]]


class Waiting:
    """Waits on one epoll descriptor. Times are in seconds; `clock` and `give_way` are the system's but in tests."""

    def __init__(
        self,
        epoll: select.epoll,
        clock: Callable[[], float] = time.monotonic,
        give_way: Callable[[], object] = os.sched_yield,
        cpus: int | None = None,
    ) -> None:
        self._poll = epoll.poll
        self._clock = clock
        self._give_way = give_way
        self._mean = LONG
        self._short = SHORT if (cpus or len(os.sched_getaffinity(0))) > 1 else 0.0  # the only CPU is others' too
        self.asleep = False
        """True if the next wait is to be a sleep whatever the mean is: others need the CPU more."""

    def events(self, patience: float | None) -> Events:
        """What epoll tells within `patience` seconds (None: as long as it takes)."""
        if patience == 0:
            return self._poll(0)
        clock = self._clock
        began = clock()
        if self._mean < self._short and not self.asleep and (patience is None or patience > MOMENT):
            events = self._awake(began + MOMENT) or self._poll(patience)
        else:
            events = self._poll(patience)
        self.asleep = len(events) > FEW
        waited = clock() - began
        self._mean += ((waited if waited < LONG else LONG) - self._mean) * WEIGHT
        return events

    def _awake(self, until: float) -> Events:
        poll, clock, give_way = self._poll, self._clock, self._give_way
        while True:
            events = poll(0)
            if events or clock() >= until:
                return events
            give_way()
