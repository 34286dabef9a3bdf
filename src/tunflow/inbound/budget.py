"""How many descriptors the server may hold: it stops accepting before the system refuses.

Rules: whoever opens a descriptor takes it here first and gives it back once closed; a refusal changes
nothing; who waits for a free descriptor is called when one comes back.
"""

from __future__ import annotations

import resource
from collections.abc import Callable

from tunflow.errors import LocalError

KEPT_FREE = 32
"""Descriptors for the loop, the listeners, the log, name look-ups and whatever the libraries open."""


LEAST = 48
"""With fewer a client's few connections and their names would keep each other waiting."""


def raise_limit() -> int:
    """Raise the soft limit of open files to the hard one; what may be open now. Raises LocalError below `LEAST`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= hard < LEAST:
        raise LocalError(f"{hard} open files are too few (ulimit -n): expected {LEAST} at least")
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 1 << 20


class DescriptorBudget:
    """Counts descriptors against `limit`."""

    def __init__(self, limit: int) -> None:
        self.limit = max(8, limit - KEPT_FREE)
        self.used = 0
        self._waiting: list[Callable[[], None]] = []

    def take(self, count: int) -> bool:
        """Return True if `count` more descriptors may be opened; they are counted if so."""
        if self.used + count > self.limit:
            return False
        self.used += count
        return True

    def give(self, count: int) -> None:
        """`count` descriptors have been closed."""
        self.used -= count
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call()

    def when_free(self, call: Callable[[], None]) -> None:
        """Call once when descriptors have come back, be it fewer than are needed."""
        self._waiting.append(call)
