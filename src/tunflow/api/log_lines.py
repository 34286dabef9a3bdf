"""What the tunnel says, for those who follow it; the last lines are kept for who comes later."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from typing import Any

KEPT = 200
WAITING = 1000
"""Lines that wait for a slow follower; more push the oldest out."""

LEVELS = ("debug", "info", "warning", "error", "silent")
"""The least first. Flows (with `--verbose`) are of the level debug, what goes wrong is a warning."""


class LogLines:
    """`say` is called in any thread; followers are coroutines of `loop`, which is set when it runs."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self._kept: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._followers: set[_Follower] = set()

    def say(self, line: str, level: str = "info") -> None:
        """A line for people, without secrets; `level` is one of `LEVELS`."""
        record = {"type": level, "payload": line}
        self._kept.append(record)
        if self.loop is not None and self._followers:
            with suppress(RuntimeError):  # the loop ended meanwhile, and its followers with it
                self.loop.call_soon_threadsafe(self._tell, record)

    def also(self, say: Callable[[str], None], level: str = "info") -> Callable[[str], None]:
        """Return what tells a line to `say`, and to those who follow here."""

        def both(line: str) -> None:
            say(line)
            self.say(line, level)

        return both

    async def follow(self, level: str) -> AsyncIterator[dict[str, Any]]:
        """Lines of a level and above as records, beginning with those that are kept."""
        follower = _Follower(level, self._kept)
        self._followers.add(follower)
        try:
            while True:
                await follower.there.wait()
                while follower.lines:
                    yield follower.lines.popleft()
                follower.there.clear()
        finally:
            self._followers.discard(follower)

    def _tell(self, record: dict[str, Any]) -> None:
        for follower in self._followers:
            follower.take(record)


class _Follower:
    def __init__(self, level: str, kept: Iterable[dict[str, Any]]) -> None:
        self._levels = frozenset(LEVELS[LEVELS.index(level) :])
        self.lines: deque[dict[str, Any]] = deque(maxlen=WAITING)
        self.there = asyncio.Event()
        for record in kept:
            self.take(record)

    def take(self, record: dict[str, Any]) -> None:
        if record["type"] in self._levels:
            self.lines.append(record)
            self.there.set()
