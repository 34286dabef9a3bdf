"""A coroutine that waits for what the stack has for it: one at a time, woken by a change and not by the data."""

from __future__ import annotations

import asyncio


class Waiter:
    """Whoever was woken looks for itself whether there is something."""

    __slots__ = ("_woken",)

    def __init__(self) -> None:
        self._woken: asyncio.Future[None] | None = None

    def __bool__(self) -> bool:
        """Return True if one waits."""
        return self._woken is not None

    async def wait(self) -> None:
        """Until `wake`."""
        self._woken = asyncio.get_running_loop().create_future()
        try:
            await self._woken
        finally:
            self._woken = None

    def wake(self) -> None:
        """Something changed."""
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)
