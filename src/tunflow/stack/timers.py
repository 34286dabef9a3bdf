"""When each connection wants to be called.

Two kinds of timer, because they live on different scales:

- near ones (retransmission, delayed ACK; a minute at most) in a lazy heap: moving a deadline later costs nothing,
  because an entry that comes up early only makes the connection look again;
- keep-alive, hours away, in one sweep over all connections when the first of them may be due. An entry for each would
  hold on to connections long closed.
"""

from __future__ import annotations

from collections.abc import Collection
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf

from tunflow.stack.tcp.connection import Connection

SWEEP_INTERVAL = 15.0
"""Seconds between two sweeps at least: a probe may be late by this much."""

COMPACT_ABOVE = 512
"""Entries in the heap before it is looked at for dead ones, once they must be half of it."""


class ConnectionTimers:
    """The timers of `connections` as one machine."""

    def __init__(self, connections: Collection[Connection]) -> None:
        self._connections = connections
        self._heap: list[tuple[float, int, Connection]] = []
        self._order = count()
        self._sweep_at = inf

    def schedule(self, connection: Connection, when: float) -> None:
        """Call the connection's `handle_timeout` at `when`, unless it is called earlier anyhow."""
        if when < connection.wake_at:
            connection.wake_at = when
            heap = self._heap
            heappush(heap, (when, next(self._order), connection))
            if len(heap) > COMPACT_ABOVE and len(heap) > 2 * len(self._connections):
                # Entries of connections that are over keep them in memory for no reason.
                heap[:] = [entry for entry in heap if entry[0] == entry[2].wake_at and not entry[2].closed]
                heapify(heap)

    def watch_idle(self, when: float) -> None:
        """Call `handle_idle` of every connection at that time: one may have been idle for too long by then."""
        if when < self._sweep_at:
            self._sweep_at = when

    def next_timeout(self) -> float | None:
        """The earliest entry that still means something."""
        heap = self._heap
        while heap:
            when, _, connection = heap[0]
            if when == connection.wake_at and not connection.closed:
                return min(when, self._sweep_at)
            heappop(heap)
        return self._sweep_at if self._sweep_at != inf else None

    def handle_timeout(self, now: float) -> None:
        """Call every connection that is due."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            when, _, connection = heappop(heap)
            if when == connection.wake_at:
                connection.wake_at = inf
                connection.handle_timeout(now)
        if self._sweep_at <= now:
            due = [connection.handle_idle(now) for connection in list(self._connections)]
            following = min((when for when in due if when is not None), default=inf)
            self._sweep_at = max(following, now + SWEEP_INTERVAL)
