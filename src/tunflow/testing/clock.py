"""Virtual time: it stands still while machines work and jumps to their next event.

Nothing here waits or looks at a clock, so a test of ten minutes of back-off takes as long as its events, and two runs
of it are the same. Read `tunflow.machine` for what a machine promises.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from tunflow.machine import Timed

START = 1000.0
"""Not zero: a machine that takes "no time" for "time zero" must show it."""

EVENTS_AT_ONCE = 10_000
"""Jumps without time passing after which something must be calling itself forever."""


class Clock:
    """The time that some machines share. `now` is in seconds."""

    def __init__(self, machines: Sequence[Timed], now: float = START) -> None:
        self.now = now
        self._machines = tuple(machines)
        self._at_once = 0

    def next_event(self) -> float | None:
        """When the first of the machines wants to be called; None while nothing is pending."""
        due = [when for machine in self._machines if (when := machine.next_timeout()) is not None]
        return min(due) if due else None

    def jump(self, limit: float = inf) -> bool:
        """Go to the next event and let it happen; to `limit` if there is none before. Return True if there was one."""
        due = self.next_event()
        if due is None or due > limit:
            if limit != inf:
                self.now = max(self.now, limit)
            return False
        self.advance(due)
        return True

    def advance(self, now: float) -> None:
        """Go to a time, by a real clock for example, and let happen what is due then.

        Raises AssertionError when time does not pass any more.
        """
        if now > self.now:
            self.now = now
            self._at_once = 0
        else:
            self._at_once += 1
            assert self._at_once < EVENTS_AT_ONCE, f"time stands still at {self.now}"
        for machine in self._machines:
            when = machine.next_timeout()
            if when is not None and when <= self.now:
                machine.handle_timeout(self.now)
