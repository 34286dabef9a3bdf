"""Standard input, output and error: there in any case, and written out before the exit status is decided."""

from __future__ import annotations

import os
import sys
from typing import Literal, TextIO


def open_missing() -> None:
    """Open /dev/null for those that the caller closed, so that no socket or file gets their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
    # Python has None for what was closed when it began.
    sys.stdin = sys.stdin or _stream(0, "r")
    sys.stdout = sys.stdout or _stream(1, "w")
    sys.stderr = sys.stderr or _stream(2, "w")


def write_out() -> None:
    """Write what waits for standard output. Raises OSError."""
    sys.stdout.flush()


def discard() -> None:
    """Nobody takes standard output: what waits for it goes nowhere, also at the exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _stream(number: int, mode: Literal["r", "w"]) -> TextIO:
    return open(number, mode, closefd=False)
