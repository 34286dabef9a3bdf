"""The daemon's log: lines with the time in front, to a file that stays small and to whoever watches.

The file is a process's standard output and error too, so that the traceback of a bug ends up there. It lies in a
file system in memory: once it has `LIMIT` bytes it becomes `log.old` and a new one begins.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

LIMIT = 1 << 20
"""Bytes of one file; there are two."""


class LogFile:
    """Writes lines to descriptor 2, which is `path` once `take_over` was called."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._fd = -1
        self._size = 0
        self.listener: Callable[[str], None] | None = None
        """Is given every line."""

    def open(self) -> None:
        """Begin a file of our own, beside what descriptor 2 is. Raises OSError."""
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._open_others()

    def take_over(self) -> None:
        """Write to descriptor 2, which is the file already; it begins anew. Raises OSError."""
        self._fd = 2
        os.ftruncate(2, 0)
        self._open_others()

    def _open_others(self) -> None:
        old = self._path.with_name(self._path.name + ".old")
        self._old = os.open(old, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._source = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)

    def catch_up(self) -> None:
        """In another process than the one that wrote so far: find out how long the file is. Raises OSError."""
        self._size = os.fstat(self._fd).st_size

    def say(self, line: str) -> None:
        """One line, for people."""
        stamped = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(self._clock()))} {line}"
        with suppress(OSError):
            self._size += os.write(self._fd, f"{stamped}\n".encode(errors="replace"))
            if self._size > LIMIT:
                self._turn_over()
        if self.listener is not None:
            self.listener(stamped)

    def _turn_over(self) -> None:
        """By copying: the folder may be root's alone by now."""
        self._size = 0
        os.ftruncate(self._old, 0)
        os.pwrite(self._old, os.pread(self._source, 2 * LIMIT, 0), 0)
        os.ftruncate(self._fd, 0)
