"""Which descriptors this process has open, for tests that nothing stays open.

They compare sets and not how many there are: what an earlier test left may be closed by the garbage collector or by a
thread at any time.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Set
from contextlib import suppress
from pathlib import Path


def open_files() -> frozenset[str]:
    """Each descriptor's number and what it is; sockets and pipes have names of their own (`8 socket:[4711]`)."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the listing's own
            found.add(f"{entry.name} {os.readlink(entry)}")  # noqa: PTH115 - the kernel's text, which is no path
    return frozenset(found)


def opened_since(before: Set[str]) -> Set[str]:
    """What is open now and was not when `before` was taken."""
    if open_files() <= before:
        return frozenset()
    gc.collect()
    return open_files() - before
