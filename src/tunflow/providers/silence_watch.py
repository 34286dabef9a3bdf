"""Datagrams leave, and none comes: some networks drop a UDP flow that has lasted for minutes, without a word.

What helps is another source port, which is another flow to whoever sits on the way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

SILENCE = 30.0
"""Seconds of sending without hearing anything, after which the way is not believed in any more."""


class SilenceWatch:
    """Calls `silent` after so many seconds of sending unheard, and again after as many more; `over` when something is
    heard after that. Neither costs more than one timer at a time."""

    def __init__(self, silent: Callable[[], None], over: Callable[[], None], seconds: float = SILENCE) -> None:
        self._silent = silent
        self._over = over
        self._seconds = seconds
        self._since: float | None = None
        """When the first datagram left that nothing has followed yet."""
        self._timer: asyncio.TimerHandle | None = None
        self._is_told = False
        self._loop = asyncio.get_running_loop()

    def sent(self) -> None:
        """Something has left."""
        if self._since is None:
            self._since = self._loop.time()
            if self._timer is None:
                self._timer = self._loop.call_later(self._seconds, self._due)

    def heard(self) -> None:
        """Something has come from the server itself."""
        self._since = None
        if self._is_told:
            self._is_told = False
            self._over()

    def close(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _due(self) -> None:
        self._timer = None
        if self._since is None:
            return
        left = self._since + self._seconds - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._due)
            return
        self._since = None  # counted anew from the next datagram on
        self._is_told = True
        self._silent()
