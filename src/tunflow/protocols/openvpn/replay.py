"""Which packet ids have been seen: a window behind the highest one, for data and for protected control packets.

An id is asked about before its packet is opened and remembered once that has authenticated. Ids begin at 1.
"""

from __future__ import annotations

WINDOW = 1024
"""Ids remembered. OpenVPN's own default is 64 (`replay-window`), which drops good packets on fast or striped links;
remembering more admits no packet twice."""

_ALL = (1 << WINDOW) - 1


class ReplayWindow:
    """The ids of one direction under one key."""

    __slots__ = ("_highest", "_seen")

    def __init__(self) -> None:
        self._highest = 0
        self._seen = 1
        """Bit n: the id n below the highest."""

    def is_new(self, packet: int) -> bool:
        """Return True if the id was not seen and is not too old to know."""
        behind = self._highest - packet
        return behind < 0 or (behind < WINDOW and not self._seen >> behind & 1)

    @property
    def next(self) -> int:
        """The id after the highest that was seen: what comes when nothing is lost."""
        return self._highest + 1

    def add_next(self, count: int) -> None:
        """Remember the next `count` ids, which are new."""
        self._seen = (self._seen << count | (1 << count) - 1) & _ALL
        self._highest += count

    def add(self, packet: int) -> None:
        """Remember an id that `is_new`."""
        ahead = packet - self._highest
        if ahead == 1:
            self._seen = self._seen << 1 & _ALL | 1
            self._highest = packet
        elif ahead > 0:
            self._seen = (self._seen << ahead & _ALL | 1) if ahead < WINDOW else 1
            self._highest = packet
        else:
            self._seen |= 1 << -ahead


class TimedReplayWindow:
    """The same for ids that stand beside a time: a later time starts the ids anew, an earlier one is a replay."""

    __slots__ = ("_time", "_window")

    def __init__(self) -> None:
        self._time = 0
        self._window = ReplayWindow()

    def is_new(self, time: int, packet: int) -> bool:
        """Return True if the pair was not seen. `time` in seconds as its sender counts them."""
        return time > self._time or (time == self._time and self._window.is_new(packet))

    def add(self, time: int, packet: int) -> None:
        """Remember a pair that `is_new`."""
        if time > self._time:
            self._time, self._window = time, ReplayWindow()
        self._window.add(packet)
