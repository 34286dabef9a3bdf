"""What a bug ends: the connection, query or client that it happened in, and nothing else.

An exception that is no error of ours in a callback of the loop belongs to the innermost object on its way that is
`Contained`: that object is cut as an error of its far side would cut it. The loop looks for it in the traceback, so
nothing is to be registered, nothing wraps a callback, and the hot path costs nothing.

Rules: an error is counted and told in one line for each place and minute, with the exception's type, file and line,
and whose it was; not with its message, which may quote what a peer sent, secrets too. An error that is nobody's ends
what it interrupted; `STORM` of them within `STORM_SECONDS` end the process, because it does not get on.
"""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunflow.loop.cause_log import CauseLog

STORM = 100
STORM_SECONDS = 10.0

_PACKAGE = __name__.partition(".")[0]


class Contained(ABC):
    """Something that a bug in it ends alone."""

    @property
    @abstractmethod
    def about(self) -> str:
        """What it is, in a few words for the log, without secrets."""

    @abstractmethod
    def cut(self) -> None:
        """End, and give everything back, as if the far side had failed; may be called at any moment."""


class Containment:
    """Takes what the loop caught. `clock` gives seconds on a monotonic scale."""

    def __init__(self, log: CauseLog, clock: Callable[[], float]) -> None:
        self._log = log
        self._clock = clock
        self._nobodys: deque[float] = deque(maxlen=STORM)
        self.errors = 0
        """Internal errors so far."""

    def caught(self, error: Exception) -> None:
        """End what `error` happened in. Raises it again in a storm of errors that are nobody's."""
        self.errors += 1
        owner = _owner_of(error)
        place = f"{type(error).__name__} at {_place_of(error)}"
        whose = "the loop" if owner is None else owner.about
        self._log.tell(f"internal {place}", f"internal error in {whose}: {place}; please report it")
        if owner is None:
            self._count_nobodys(error)
            return
        try:
            owner.cut()
        except Exception as second:
            self._log.tell(f"internal cut {place}", f"internal error: {type(second).__name__} at {_place_of(second)}")
            self._count_nobodys(second)

    def _count_nobodys(self, error: Exception) -> None:
        now = self._clock()
        if len(self._nobodys) == STORM and now - self._nobodys[0] < STORM_SECONDS:
            raise error
        self._nobodys.append(now)


def _owner_of(error: Exception) -> Contained | None:
    """The innermost object whose method the error went through."""
    found = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        owner = frame.f_locals.get("self")
        if isinstance(owner, Contained):
            found = owner
    return found


def _place_of(error: Exception) -> str:
    """File and line of the innermost of our functions that the error went through, and where it was raised."""
    ours = raised = "?"
    for frame, line in traceback.walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__", "?"))
        raised = f"{module.replace('.', '/')}.py:{line}"
        if module.partition(".")[0] == _PACKAGE:
            ours = raised
    return ours if raised == ours else f"{ours} (from {raised})"
