"""What a command says to the person who runs it."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

NOTICE, ERROR = 5, 3
"""Levels of syslog(3)."""


def say(line: str, level: int = NOTICE) -> None:
    """One line on stderr, for people, or with its level for the journal. A stderr that is gone ends no tunnel."""
    with suppress(OSError, ValueError):
        mark = f"<{level}>" if is_journal() else ""
        print(f"{mark}tunflow: {printable(line)}", file=sys.stderr, flush=True)  # noqa: T201


def is_journal() -> bool:
    """Return True if stderr is the journal's, which reads a level before each line (systemd.exec(5))."""
    named = os.environ.get("JOURNAL_STREAM")
    if named is None:
        return False
    try:
        there = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return named == f"{there.st_dev}:{there.st_ino}"


def printable(text: str) -> str:
    """The text in one line, what a terminal would obey and what no encoding has written as in Python."""
    return text if text.isprintable() else "".join(map(_printable, text))


def _printable(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]
