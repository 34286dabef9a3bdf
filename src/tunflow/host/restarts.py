"""How often a tunnel's process that died is started again, after which pauses, and when that is given up.

Pure: told what happened, it answers with a pause in seconds.
"""

from __future__ import annotations

FAILURES = 5
"""In a row; then it is given up."""

STABLE = 60.0
"""Seconds of being up after which an end is the first of a row."""

FIRST_PAUSE = 0.25
LONGEST_PAUSE = 15.0
"""Seconds until it is started again; each pause is twice the one before."""


class Restarts:
    """Counts the ends of one tunnel's processes."""

    def __init__(self) -> None:
        self.count = 0
        """How often it was started again and came up."""
        self.last_cause: str | None = None
        """Why it ended the last time, for people."""
        self.in_a_row = 0
        self._pause = FIRST_PAUSE

    def came_up(self) -> None:
        """It was started again, and is up."""
        self.count += 1
        self._pause = FIRST_PAUSE

    def died(self, cause: str, lived: float) -> float | None:
        """It ended by itself `lived` seconds after it was up (0: it was not). The pause; None when it is given up."""
        self.last_cause = cause
        self.in_a_row = 1 if lived >= STABLE else self.in_a_row + 1
        return None if self.in_a_row >= FAILURES else self._next_pause()

    def unreached(self, cause: str) -> float:
        """It ended because no server could be reached, which is nobody's fault here. The pause."""
        self.last_cause = cause
        return self._next_pause()

    def _next_pause(self) -> float:
        pause, self._pause = self._pause, min(LONGEST_PAUSE, self._pause * 2)
        return pause
