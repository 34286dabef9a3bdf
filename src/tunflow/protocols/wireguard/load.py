"""When an end is under load, and how often one address is let in then (the paper, §5.3)."""

from __future__ import annotations

from math import inf

HANDSHAKES_A_SECOND = 250
"""Messages with a right mac1 within a second that are answered without a cookie: some 60 ms of computing here."""
REMEMBERED = 1.0
"""Seconds that load is taken to last."""
ALLOWED_A_SECOND = 20.0
BURST = 5.0
"""Handshake messages from one address, with a cookie, under load."""
ADDRESSES = 8192
"""Whose rate is remembered; only who can receive there gets on the list."""


class Load:
    """The handshake messages of one interface."""

    def __init__(self) -> None:
        self._second = -inf
        self._count = 0
        self._until = -inf
        self._tokens: dict[bytes | str, tuple[float, float]] = {}
        """By host: what it has left, and when that was so."""

    def count(self, now: float) -> None:
        """A message with a right mac1 came."""
        if now - self._second >= REMEMBERED:
            self._second, self._count = now, 0
        self._count += 1
        if self._count > HANDSHAKES_A_SECOND:
            self._until = now + REMEMBERED

    def is_high(self, now: float) -> bool:
        """Return True if cookies are asked for now."""
        return now < self._until

    def allows(self, host: bytes | str, now: float) -> bool:
        """Return True if a message from this address is not too soon after its last ones."""
        left, then = self._tokens.pop(host, (BURST, now))
        left = min(BURST, left + (now - then) * ALLOWED_A_SECOND)
        if len(self._tokens) >= ADDRESSES:
            del self._tokens[next(iter(self._tokens))]
        self._tokens[host] = (left - 1 if left >= 1 else left, now)
        return left >= 1
