"""When each connection wants to be called.

A lazy heap: moving a deadline later costs nothing, because an entry that comes up early only makes the connection look
again. Two kinds of entry keep stale ones few: a near one for retransmission and delayed ACKs (at most a minute away),
and at most one far one for keep-alive.
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count
from math import inf

from tunflow.stack.tcp.connection import KEEPALIVE_IDLE, TCPConnection


class ConnectionTimers:
    """The timers of all connections as one machine."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, TCPConnection, bool]] = []
        self._order = count()

    def schedule(self, connection: TCPConnection, when: float) -> None:
        """Call the connection's `handle_timeout` at `when`, unless it is called earlier anyhow."""
        if when < connection.wake_at:
            connection.wake_at = when
            heappush(self._heap, (when, next(self._order), connection, False))

    def watch_idle(self, connection: TCPConnection, now: float) -> None:
        """Call the connection's `handle_idle` once it may have been idle for the keep-alive time."""
        heappush(self._heap, (now + KEEPALIVE_IDLE, next(self._order), connection, True))

    def next_timeout(self) -> float | None:
        """The earliest entry that still means something."""
        heap = self._heap
        while heap:
            when, _, connection, is_idle = heap[0]
            if not connection.closed and (is_idle or when == connection.wake_at):
                return when
            heappop(heap)
        return None

    def handle_timeout(self, now: float) -> None:
        """Call every connection whose entry is due."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            when, _, connection, is_idle = heappop(heap)
            if is_idle:
                again = connection.handle_idle(now)
                if again is not None:
                    heappush(heap, (again, next(self._order), connection, True))
            elif when == connection.wake_at:
                connection.wake_at = inf
                connection.handle_timeout(now)
