"""How many bytes all connections of a stack may buffer together, and how that is shared out.

Counted is payload that somebody holds: received and not taken by the owner, early, queued to be sent, sent and not
acknowledged, and what an owner says that it holds itself (`used` is his to change too). Rules:

1. An eighth of the limit is a reserve. The share of each connection and direction is a sixteenth of what is free of the
   rest at the moment ("dynamic threshold": Choudhury and Hahne, "Dynamic Queue Length Thresholds for Shared-Memory
   Packet Switches", 1998). So a few flows get all that they want, many share alike, and however many do not read,
   something stays free for the others.
2. A share is never below `FLOOR`, so that every connection makes progress: that is what the reserve is for. New
   connections are not let in when it is used up but for an eighth.
3. A window once offered is no claim on the reserve: bytes that would touch it are dropped as if the network had lost
   them, and come again.
"""

from __future__ import annotations

from math import inf

FLOOR = 4096
"""Bytes that a connection may hold in a direction whatever the others do: two packets."""

SHARES = 16
RESERVE = 8
"""The part of the limit that is the reserve: one in so many."""


class MemoryBudget:
    """`limit` in bytes; by default there is none."""

    __slots__ = ("_shared", "ample", "limit", "used", "widest")

    def __init__(self, limit: float = inf) -> None:
        self.limit = limit
        self.used = 0
        self.widest = 1 << 30
        """No receive window is wider than this."""
        self._shared = limit - limit / RESERVE if limit != inf else inf
        self.ample = self._shared - SHARES * (1 << 20)
        """Up to here nobody's share is below a mebibyte, which is more than anybody asks for."""

    def share(self, most: int) -> int:
        """How much a connection that would hold up to `most` bytes in a direction may hold now."""
        used = self.used
        if used <= self.ample:
            return most
        share = int(self._shared - used) // SHARES
        return min(most, max(FLOOR, share)) if used < self.limit else 0

    def acceptable(self, size: int, held: int) -> int:
        """How much of `size` bytes that arrived a connection may keep that holds so many already."""
        room = max(self._shared - self.used, min(FLOOR - held, self.limit - self.used), 0)
        return int(min(size, room))

    @property
    def room(self) -> float:
        """How many bytes more may be held."""
        return self.limit - self.used

    @property
    def admits(self) -> bool:
        """True if there is room for new connections."""
        return self.used <= self.limit - self.limit / RESERVE**2 if self.limit != inf else True
