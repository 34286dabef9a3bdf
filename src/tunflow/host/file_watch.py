"""Waits until something is made at a path, without looking again and again.

inotify(7) through ctypes: three calls, which Python's library does not have.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from pathlib import Path
from types import TracebackType

IN_CREATE, IN_MOVED_TO, IN_DELETE_SELF, IN_MOVE_SELF = 0x100, 0x80, 0x400, 0x800
"""linux/inotify.h"""
_EVENTS = IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF
_libc = ctypes.CDLL(None, use_errno=True)


class FileWatch:
    """Sees from now on what is made in the directory of `path`, or in the nearest one that exists; a context manager.

    Use it so: make the watch, look whether the file is there and as it should be, and if not, `wait` and begin anew.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        directory = next(parent for parent in path.absolute().parents if parent.exists())
        self._descriptor = int(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        if _libc.inotify_add_watch(self._descriptor, os.fsencode(directory), _EVENTS) < 0:
            error = ctypes.get_errno()
            os.close(self._descriptor)
            raise OSError(error, "inotify_add_watch", str(directory))

    def __enter__(self) -> FileWatch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    async def wait(self) -> None:
        """Return once something was made since the watch was."""
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._descriptor, lambda: None if ready.done() else ready.set_result(None))
        try:
            await ready
        finally:
            loop.remove_reader(self._descriptor)
