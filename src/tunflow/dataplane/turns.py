"""Whose turn it is: flows with much to read, one after the other, and flows that wait for memory (docs/adr/0014)."""

from __future__ import annotations

from collections import deque
from collections.abc import Set
from typing import Protocol

from tunflow.loop.reactor import Reactor
from tunflow.stack.budget import MemoryBudget

ROUND = 8
"""Super-segments read for all bulk flows together before the others have their turn."""

TURN = 4
"""And for one of them at a time."""


class BulkFlow(Protocol):
    """A flow that has more to do than fits into one turn."""

    def service(self, turn: int = 0) -> None:
        """Move what can be moved; `turn`: it was the flow's turn, and it may read so many super-segments."""


class Turns:
    """Serves whoever waits, as long as it is one of those that are `open`."""

    def __init__(self, reactor: Reactor, budget: MemoryBudget, is_open: Set[object]) -> None:
        self._reactor = reactor
        self._budget = budget
        self._open = is_open
        self._waiting: deque[BulkFlow] = deque()
        self._is_due = False
        self._starved: list[BulkFlow] = []

    def again(self, flow: BulkFlow) -> None:
        """Serve the flow once more, after the others had their turn."""
        self._waiting.append(flow)
        if not self._is_due:
            self._is_due = True
            self._reactor.call_soon(self._serve)

    def wait_for_memory(self, flow: BulkFlow) -> None:
        """Serve the flow when there is room again for what it has to read."""
        self._starved.append(flow)

    def serve_starved(self) -> None:
        """Serve those that wait for memory, if there is some; once a round."""
        if self._starved and self._budget.room > 0:
            starved, self._starved = self._starved, []
            left = iter(starved)
            try:
                for flow in left:
                    if flow in self._open:
                        flow.service()
            except Exception:
                self._starved += left  # a bug in one of them: the others' turn is the next round
                raise

    def _serve(self) -> None:
        """Bulk flows take turns; what else there is to do comes in between."""
        waiting = self._waiting
        turn = max(TURN, ROUND // len(waiting))
        try:
            for _ in range(min(ROUND // turn, len(waiting))):
                flow = waiting.popleft()
                if flow in self._open:
                    flow.service(turn)
        finally:
            self._is_due = bool(waiting)
            if waiting:
                self._reactor.call_soon(self._serve)
