"""Flows whose proxy has not been told the target yet, because the client may still speak first.

All of them wait equally long, so a queue in order of time does for timers: nothing to cancel, and one deadline.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol


class SilentClient(Protocol):
    """A flow whose client may speak first."""

    def open_without_payload(self) -> None:
        """The client has not spoken: tell the proxy the target all the same, if that was not done meanwhile."""


class Openings:
    """The flows in the order in which they were added."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[float, SilentClient]] = deque()

    def add(self, relay: SilentClient, when: float) -> None:
        """Call the relay's `open_without_payload` at `when`, which is not before that of any added earlier."""
        self._waiting.append((when, relay))

    def next_timeout(self) -> float | None:
        """When the first is due."""
        return self._waiting[0][0] if self._waiting else None

    def handle_timeout(self, now: float) -> None:
        """Open those that are due."""
        waiting = self._waiting
        while waiting and waiting[0][0] <= now:
            waiting.popleft()[1].open_without_payload()
