"""What a bug ends: the connection, query or client that it happened in, and nothing else.

An exception that is no error of ours belongs to the innermost object on its way that is `Contained`: that object is cut
as an error of its far side would cut it, or the next one outwards if it is too broken for that. They are looked for in
the traceback, so nothing is to be registered, nothing wraps a callback, and the hot path costs nothing. What was just
being made is cut too, for nobody knows of it yet.

Rules: an error is counted and told in one line for each place and minute, with the exception's type, file and line,
and whose it was; not with its message, which may quote what a peer sent, secrets too. One that is nobody's ends what it
interrupted; `STORM` of them within `STORM_SECONDS`, with one in each round of the loop, end the process: it does not
get on.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

from tunflow.contained import Contained

if TYPE_CHECKING:
    from tunflow.loop.cause_log import CauseLog

STORM = 100
STORM_SECONDS = 10.0

EXIT_STATUS = 70
"""sysexits.h, EX_SOFTWARE."""

_PACKAGE = __name__.partition(".")[0]


class Containment:
    """Takes what the loop caught. `clock` gives seconds on a monotonic scale, the same during one round of the loop."""

    def __init__(self, log: CauseLog, clock: Callable[[], float]) -> None:
        self._log = log
        self._clock = clock
        self._nobodys = 0
        """Errors that were nobody's, since the last round without one."""
        self._since = self._last = 0.0
        self.errors = 0
        """Internal errors so far."""

    @property
    def troubled(self) -> bool:
        """True if rounds are to be told of by `round_over`."""
        return self._nobodys > 0

    def caught(self, error: Exception, outermost: Contained | None = None) -> None:
        """End what `error` happened in; `outermost` if nothing on its way is to be ended.

        Raises SystemExit in a storm of errors that are nobody's.
        """
        self.errors += 1
        owners, unborn = _owners_of(error)
        if outermost is not None:
            owners.append(outermost)
        place = f"{type(error).__name__} at {_place_of(error)}"
        whose = _about(owners[0]) if owners else "the loop"
        self._log.tell(f"internal {place}", f"internal error in {whose}: {place}; please report it")
        failures: list[Exception] = []
        for owner in unborn:
            _cut(owner, failures)
        failures.clear()  # half made, they may well be in nobody's hands
        if any(_cut(owner, failures) for owner in owners):
            return
        for failure in failures[:1]:
            second_place = f"{type(failure).__name__} at {_place_of(failure)}"
            self._log.tell(f"internal cut {place}", f"internal error in ending {whose}: {second_place}")
        self._count_nobodys(place)

    def round_over(self) -> None:
        """A round of the loop is over: it gets on, if nothing in it was nobody's."""
        if self._last != self._clock():
            self._nobodys = 0

    def _count_nobodys(self, place: str) -> None:
        self._last = now = self._clock()
        if not self._nobodys or now - self._since >= STORM_SECONDS:
            self._nobodys, self._since = 0, now
        self._nobodys += 1
        if self._nobodys > STORM:
            self._log.tell("internal storm", f"giving up: {STORM} internal errors in a row, the last {place}")
            raise SystemExit(EXIT_STATUS)


def _owners_of(error: Exception) -> tuple[list[Contained], list[Contained]]:
    """The objects that the error went through, the innermost first, and which of them were being made.

    Not who caught it: to look at a frame keeps what it holds, which here would be the error, and with it everything
    that went wrong, until the collector comes.
    """
    owners: list[Contained] = []
    unborn: list[Contained] = []
    caught = error.__traceback__
    for frame, _ in traceback.walk_tb(None if caught is None else caught.tb_next):
        owner = _owner_in(frame)
        if owner is not None:
            owners = [owner, *(other for other in owners if other is not owner)]
            if frame.f_code.co_name == "__init__":
                unborn.append(owner)
    return owners, unborn


def _owner_in(frame: FrameType) -> Contained | None:
    """Whose method it is, or which object a function is about: its first argument."""
    code = frame.f_code
    for name in ("self", *code.co_varnames[: min(1, code.co_argcount)]):
        owner = frame.f_locals.get(name)
        if isinstance(owner, Contained):
            return owner
    return None


def _cut(owner: Contained, failures: list[Exception]) -> bool:
    """End it. Return True if that worked; else the reason goes to `failures`."""
    try:
        owner.cut()
    except Exception as failure:
        failures.append(failure)
        return False
    return True


def _about(owner: Contained) -> str:
    """What it says of itself, if it is whole enough for that."""
    try:
        return owner.about
    except Exception:
        return type(owner).__name__


def _place_of(error: Exception) -> str:
    """File and line of the innermost of our functions that the error went through, and where it was raised."""
    ours = raised = "?"
    for frame, line in traceback.walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__", "?"))
        raised = f"{module.replace('.', '/')}.py:{line}"
        if module.partition(".")[0] == _PACKAGE:
            ours = raised
    return ours if raised == ours else f"{ours} (from {raised})"
