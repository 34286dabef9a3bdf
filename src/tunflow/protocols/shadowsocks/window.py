"""Which packet ids of a session have been seen: a window that slides with the highest (RFC 6479 tells of such).

Rules: an id is asked about before its packet is opened and remembered once it has authenticated (SIP022 §3.2.4); what
is older than the window counts as seen.
"""

from __future__ import annotations

SIZE = 8128
"""Ids remembered. SIP022 gives no number; this is what other implementations have."""

_ALL = (1 << SIZE) - 1


class ReplayWindow:
    """The ids of one direction of one session."""

    __slots__ = ("_highest", "_seen")

    def __init__(self) -> None:
        self._highest = -1
        self._seen = 0
        """Bit n: the id n below the highest."""

    def is_new(self, packet: int) -> bool:
        """Return True if the id was not seen and is not too old to know."""
        behind = self._highest - packet
        return behind < 0 or (behind < SIZE and not self._seen >> behind & 1)

    def add(self, packet: int) -> None:
        """Remember an id."""
        ahead = packet - self._highest
        if ahead > 0:
            self._seen = (self._seen << ahead & _ALL | 1) if ahead < SIZE else 1
            self._highest = packet
        else:
            self._seen |= 1 << -ahead
