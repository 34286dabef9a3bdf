"""Turns: a task that always finds something to do lets others run, too.

Awaiting what is there already suspends nobody, so whoever reads a socket that is never empty would keep the loop to
itself: the other direction of its own tunnel, and with it every ping and ACK, would wait until the socket is.
"""

from __future__ import annotations

import asyncio
import time

TURN = 0.001
"""Seconds after which others run: some hundred packets."""


class TaskTurns:
    """Those of one task. Whoever really waited calls `begin`."""

    def __init__(self) -> None:
        self._began = 0.0

    def begin(self) -> None:
        """Others have just run."""
        self._began = time.monotonic()

    async def take(self) -> None:
        """Let others run if it is time."""
        if time.monotonic() - self._began >= TURN:
            await asyncio.sleep(0)
            self._began = time.monotonic()
