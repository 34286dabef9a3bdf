"""When a rule holds: weekdays and hours in a time zone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class Schedule:
    """From `start` until before `end` on the `weekdays` (0 is Monday) in `zone`.

    An end that is not behind the start means the next day: 22:00 to 06:00 on Friday lasts into Saturday.
    """

    weekdays: frozenset[int]
    start: time
    end: time
    zone: tzinfo

    def holds(self, at: datetime) -> bool:
        """Return True if it holds at a moment, which knows its own zone."""
        here = at.astimezone(self.zone)
        clock = here.time()
        if self.start < self.end:
            return here.weekday() in self.weekdays and self.start <= clock < self.end
        if clock >= self.start:
            return here.weekday() in self.weekdays
        return clock < self.end and (here - timedelta(days=1)).weekday() in self.weekdays
