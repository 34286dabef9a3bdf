"""What a command says to the person who runs it."""

from __future__ import annotations

import sys
from contextlib import suppress


def say(line: str) -> None:
    """One line on stderr, for people. A stderr that is gone must not end the tunnel."""
    with suppress(OSError, ValueError):
        print(f"tunflow: {line}", file=sys.stderr, flush=True)  # noqa: T201
