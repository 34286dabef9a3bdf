"""A home of its own for a test, so that nothing of who runs the tests decides what it says."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

THEIRS = ("HOME", "XDG_", "TUNFLOW_")
"""How variables begin that lead to what a user has."""


def is_theirs(name: str) -> bool:
    """Return True for what leads to a user's folders, servers and proxies (`http_proxy`, `NO_PROXY`)."""
    return name.startswith(THEIRS) or name.lower().endswith("_proxy")


@contextmanager
def own_home(place: Path) -> Iterator[None]:
    """An empty folder in `place` is HOME, and no variable leads to the user's folders, servers and proxies."""
    before = {name: value for name, value in os.environ.items() if is_theirs(name)}
    for name in before:
        del os.environ[name]
    os.environ["HOME"] = home = tempfile.mkdtemp(dir=place)
    try:
        yield
    finally:
        for name in [name for name in os.environ if is_theirs(name)]:
            del os.environ[name]
        os.environ.update(before)
        with suppress(OSError):  # something is in it: it goes with `place`
            Path(home).rmdir()
