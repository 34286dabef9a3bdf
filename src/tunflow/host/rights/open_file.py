"""Opening a file to read it, or a log to go on with it: by whoever has the right to."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

LARGEST_LOG = 64 * 1024 * 1024
"""Bytes of a log; then it is begun anew, and the old one kept beside it where the folder allows that."""

OpenFile = Callable[[Path, bool], int]
"""`open_file`, or the same by another process (`host.network.helper`), which may also raise LocalError."""


def open_file(path: Path, append: bool) -> int:
    """A descriptor to read from, or to append to a log that only its owner can read. Raises OSError."""
    if not append:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = _open_log(path)
    if os.fstat(fd).st_size <= LARGEST_LOG:
        return fd
    try:
        path.replace(path.with_name(path.name + ".1"))
    except OSError:
        os.ftruncate(fd, 0)
        return fd
    os.close(fd)
    return _open_log(path)


def _open_log(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
