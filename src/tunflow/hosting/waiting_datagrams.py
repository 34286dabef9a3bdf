"""Datagrams of a session between who hears them and who reads them."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Iterable

from tunflow.endpoint import Buffer


class WaitingDatagrams:
    """Of one session, until that is closed: at most so many, the rest is lost, as on any wire."""

    def __init__(self, most: int, failed: Callable[[BaseException], None]) -> None:
        """`failed` hears what a handler raises."""
        self.is_closed = False
        self._failed = failed
        self._handler: Callable[[list[bytes]], None] | None = None
        self._most = most
        self._waiting: list[bytes] = []
        self._changed = asyncio.Event()

    def put(self, payloads: Iterable[Buffer]) -> None:
        """They arrived; what they lie in may be used again."""
        if self._handler is not None:
            self._hand_over([bytes(payload) for payload in payloads])
            return
        for payload in payloads:
            if len(self._waiting) >= self._most:
                break
            self._waiting.append(bytes(payload))
        self._changed.set()

    async def take(self) -> list[bytes]:
        """Return what has arrived, once something has. Raises OSError when the session is closed."""
        while not self._waiting:
            self.check_open()
            self._changed.clear()
            await self._changed.wait()
        waiting, self._waiting = self._waiting, []
        return waiting

    def hand_to(self, handler: Callable[[list[bytes]], None]) -> None:
        """Call `handler` with what arrives, and what has."""
        self._handler = handler
        waiting, self._waiting = self._waiting, []
        self._hand_over(waiting)

    def _hand_over(self, waiting: list[bytes]) -> None:
        if waiting and self._handler is not None and not self.is_closed:
            try:
                self._handler(waiting)
            except BaseException as error:
                self._failed(error)

    def check_open(self) -> None:
        """Raises OSError when the session is closed."""
        if self.is_closed:
            raise OSError(errno.EBADF, "the session is closed")

    def close(self) -> None:
        """Nothing more arrives; whoever waits hears of it."""
        self.is_closed = True
        self._changed.set()
