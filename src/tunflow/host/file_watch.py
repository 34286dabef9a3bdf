"""Waits until something is made at a path, or written there, without looking again and again.

inotify(7) through ctypes: three calls, which Python's library does not have.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

IN_MODIFY, IN_CLOSE_WRITE, IN_MOVED_FROM, IN_MOVED_TO = 0x2, 0x8, 0x40, 0x80
IN_CREATE, IN_DELETE, IN_DELETE_SELF, IN_MOVE_SELF = 0x100, 0x200, 0x400, 0x800
"""linux/inotify.h"""
_MADE = IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF
_CHANGED = _MADE | IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_FROM | IN_DELETE
_MAXIMUM_LINKS = 40
"""MAXSYMLINKS of Linux."""
_libc = ctypes.CDLL(None, use_errno=True)


class FileWatch:
    """Sees from now on what is made in the directory of `path`, or in the nearest one that exists; a context manager.

    With `changes` also what goes there, and what is written to the file, to that which it is a link to, and to one
    that is mounted over it.

    Use it so: make the watch, look whether the file is there and as it should be, and if not, `wait` and begin anew.
    """

    def __init__(self, path: Path, *, changes: bool = False) -> None:
        """Raises OSError."""
        self._descriptor = int(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        try:
            seen: list[Path] = []
            # Again, until what is watched is what is there: a directory that was made meanwhile told nobody.
            while (places := list(_places(path.absolute())) if changes else [_directory(path)]) != seen:
                seen = places
                for each in places:
                    self._add(each, _CHANGED if changes else _MADE)
        except OSError:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> FileWatch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    async def wait(self) -> None:
        """Return once something happened since the watch was made."""
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._descriptor, lambda: None if ready.done() else ready.set_result(None))
        try:
            await ready
        finally:
            loop.remove_reader(self._descriptor)

    def _add(self, path: Path, events: int) -> None:
        if _libc.inotify_add_watch(self._descriptor, os.fsencode(path), events) < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch", str(path))


def _directory(path: Path) -> Path:
    return next(parent for parent in path.absolute().parents if parent.exists())


def _places(path: Path) -> Iterator[Path]:
    """Where changes show: the file, and the directories of each link on the way to it."""
    for _ in range(_MAXIMUM_LINKS):
        yield _directory(path)
        if not path.is_symlink():
            break
        path = path.parent / path.readlink()
    if path.exists():
        yield path
