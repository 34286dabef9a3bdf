"""Whose code an error or a hang is in: its file and line, for the one line that a user gets."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

_OURS = str(Path(__file__).parent.parent)
_STANDARD = str(Path(os.__file__).parent)


class ProviderHung(BaseException):
    """Raised in a provider's code that did not return. Not an Exception: `except Exception` must not swallow it."""


def describe(error: BaseException) -> str:
    """The error in one line, with the file and line of the user's code that it came from."""
    text = " ".join(str(error).split())
    kind = type(error).__name__
    if isinstance(error, SyntaxError):
        return f"{kind}: {error.msg} ({error.filename}:{error.lineno})"
    place = where_raised(error.__traceback__)
    return f"{kind}{': ' if text else ''}{text}{f' ({place})' if place else ''}"


def where_raised(trace: TracebackType | None) -> str | None:
    """`file:line` of the innermost frame of a traceback that is the user's; None when all is ours."""
    frames = []
    while trace is not None:
        frames.append((trace.tb_frame.f_code.co_filename, trace.tb_lineno))
        trace = trace.tb_next
    return innermost(frames[::-1])


def where_waiting(work: object) -> str | None:
    """`file:line` where a coroutine waits, in the user's code as far in as can be seen."""
    frames = []
    while work is not None:
        frame = getattr(work, "cr_frame", None)
        if frame is not None:
            frames.append((frame.f_code.co_filename, frame.f_lineno))
        work = getattr(work, "cr_await", None)
    return innermost(frames[::-1])


def innermost(frames: list[tuple[str, int]]) -> str | None:
    """Of frames, innermost first: the first in the user's own code, or else in an installed package."""
    theirs = [
        (file, line)
        for file, line in frames
        if not file.startswith(("<", _OURS)) and ("-packages" in file or not file.startswith(_STANDARD))
    ]
    own = [(file, line) for file, line in theirs if "-packages" not in file]
    for file, line in own or theirs:
        return f"{file}:{line}"
    return None
