"""The usage line of a command, broken where a terminal ends, and the command that somebody meant."""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Iterable, Iterator

_TITLE = "usage: "


def broken(usage: str) -> str:
    """Return `usage` in lines that fit the terminal; what stands in one pair of brackets stays together if it can."""
    width = shutil.get_terminal_size().columns - 2 - len(_TITLE)
    lines = [""]
    parts = (each for part in _parts(usage) for each in ([part] if len(part) <= width else part.split()))
    for part in parts:
        if lines[-1] and len(lines[-1]) + 1 + len(part) > width:
            lines.append(" " * len(_TITLE))
        lines[-1] += part if not lines[-1].strip() else f" {part}"
    return "\n".join(lines)


def meant(said: str, choices: Iterable[str]) -> str:
    """Return a question about the nearest of `choices`, with what stands before it; a full stop if none is near."""
    near = difflib.get_close_matches(said, list(choices), 1)
    return f", did you mean {near[0]}?" if near else "."


def _parts(usage: str) -> Iterator[str]:
    """The words of a usage line, each with the brackets that it opens."""
    part, depth = "", 0
    for word in usage.split():
        part = f"{part} {word}" if part else word
        depth += word.count("[") - word.count("]")
        if depth <= 0:
            yield part
            part, depth = "", 0
    if part:
        yield part
