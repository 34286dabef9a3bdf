"""Which salts have been seen: the defence against replayed streams and datagrams.

An observer can send a recorded request again, and a server that answers gives itself away (SIP004 leaves the
defence to implementations; SIP022 later demanded an exact one, `TimedReplayFilter` here). The memory is
exact: a fresh salt is never
refused. It is bounded by two generations: new salts go into the younger one, and when that is full the older
is forgotten. So at least the last `capacity` salts are remembered and never more than twice as many. The
default takes about 4 MB a generation once full, and nothing before.

`admit` is for salts whose first record has authenticated. Were a salt remembered as it arrives, anybody could
push out the real ones with random bytes; so only who has the key, or replays what the holder of the key sent
(which is refused), can make the memory turn over. A server also admits the salts that it sends itself: the
two directions of this edition share one key, and its own answer sent back to it would open as a request.

Bounds worth knowing: a request older than the memory, or than the process, is taken again. This edition has
no timestamps to prevent that.
"""

from __future__ import annotations

DEFAULT_CAPACITY = 1 << 15
"""Salts in a generation: at 100 connections a second, five minutes to eleven."""


class ReplayFilter:
    """Remembers at least the last `capacity` salts; one is shared by everything under one key."""

    __slots__ = ("_capacity", "_older", "_younger")

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        self._capacity = capacity
        self._younger: set[bytes] = set()
        self._older: set[bytes] = set()

    def admit(self, salt: bytes) -> bool:
        """Remember an authenticated salt. Return False if it was known, which makes it a replay."""
        if salt in self._younger or salt in self._older:
            return False
        if len(self._younger) >= self._capacity:
            self._older = self._younger
            self._younger = set()
        self._younger.add(salt)
        return True

    def __len__(self) -> int:
        """How many salts are remembered."""
        return len(self._younger) + len(self._older)


KEPT_SECONDS = 60.0
"""SIP022 §3.1.4: a server must store all incoming salts for 60 seconds. With a timestamp that may be 30 seconds off
either way, an older request is refused for its time."""


class TimedReplayFilter:
    """Remembers every salt for at least `KEPT_SECONDS`, and none when the second after that many comes.

    Two generations again, turned over by time: only who holds the key can add to them, so their size is the holders'
    own rate of connections. The time is that of a clock that may be set: one that jumps ahead and back leaves what was
    seen just before in the memory, and one that jumps back does not keep it from being turned over.
    """

    __slots__ = ("_older", "_since", "_younger")

    def __init__(self) -> None:
        self._younger: set[bytes] = set()
        self._older: set[bytes] = set()
        self._since = 0.0

    def admit(self, salt: bytes, now: float) -> bool:
        """Remember an authenticated salt at the time `now` in seconds. Return False if it was known."""
        if now - self._since >= KEPT_SECONDS:
            self._older, self._younger = self._younger, set()
            self._since = now
        self._since = min(self._since, now)
        if salt in self._younger or salt in self._older:
            return False
        self._younger.add(salt)
        return True
