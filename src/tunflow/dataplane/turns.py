"""Whose turn it is: flows with much to read are read one after the other (docs/adr/0014)."""

from __future__ import annotations

from collections import deque
from collections.abc import Set
from typing import Protocol

from tunflow.loop.reactor import Reactor

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

    def __init__(self, reactor: Reactor, is_open: Set[object]) -> None:
        self._reactor = reactor
        self._open = is_open
        self._waiting: deque[BulkFlow] = deque()
        self._is_due = False

    def again(self, flow: BulkFlow) -> None:
        """Serve the flow once more, after the others had their turn."""
        self._waiting.append(flow)
        if not self._is_due:
            self._is_due = True
            self._reactor.call_soon(self._serve)

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
