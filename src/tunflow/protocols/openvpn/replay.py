"""Which packet ids of protected control packets have been seen: they stand beside a time, and begin at 1 for each."""

from __future__ import annotations

from tunflow.protocols.replay_window import ReplayWindow


class TimedReplayWindow:
    """A later time starts the ids anew, an earlier one is a replay."""

    __slots__ = ("_time", "_window")

    def __init__(self) -> None:
        self._time = 0
        self._window = ReplayWindow(first=1)

    def is_new(self, time: int, packet: int) -> bool:
        """Return True if the pair was not seen. `time` in seconds as its sender counts them."""
        return time > self._time or (time == self._time and self._window.is_new(packet))

    def add(self, time: int, packet: int) -> None:
        """Remember a pair that `is_new`."""
        if time > self._time:
            self._time, self._window = time, ReplayWindow(first=1)
        self._window.add(packet)
