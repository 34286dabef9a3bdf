"""What does not work now, and since when: the answer to "is it me or the tunnel?"."""

from __future__ import annotations

from typing import NamedTuple

ENOUGH = 3
"""Signs in a row that make an unsure trouble one: a site may close a connection without an answer too."""


class Trouble(NamedTuple):
    """One thing; `since` is when it was seen first, in the reactor's time, and `last` when it was seen again."""

    line: str
    since: float
    last: float
    times: int = 1
    sure: bool = True
    server: str | None = None
    """The label of the server that it is about; None for anything else."""

    @property
    def counts(self) -> bool:
        """True if to speak of it."""
        return self.sure or self.times >= ENOUGH


def seen(before: Trouble | None, line: str, now: float, *, sure: bool = True, server: str | None = None) -> Trouble:
    """The trouble after one more sign of it."""
    if before is None:
        return Trouble(line, now, now, 1, sure, server)
    return Trouble(line, before.since, now, before.times + 1, sure or before.sure, server)
