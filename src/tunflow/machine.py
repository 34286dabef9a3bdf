"""The contract that every protocol machine keeps.

A machine is a protocol without its I/O: no clock, socket, event loop or randomness. What it needs of these is an
argument (`now` in seconds on any monotonic scale, keys, an RNG), and what it wants done is data that the caller
drains. So a test can put any byte at any time, and one driver serves them all:

1. hand over what arrived (`receive…`) and the time;
2. call `handle_timeout(now)` when `next_timeout()` has passed;
3. drain the output;
4. re-arm one timer with `next_timeout()`.

Functions that take bytes from the network end in `_untrusted` and raise `BadPacket`, nothing else: that sentence
is the invariant of the fuzz targets.
"""

from __future__ import annotations

from typing import Protocol


class Timed(Protocol):
    """The half of the contract that every machine with timers shares."""

    def next_timeout(self) -> float | None:
        """When `handle_timeout` wants to be called, in the scale of `now`; None while nothing is pending."""

    def handle_timeout(self, now: float) -> None:
        """Do what fell due at or before `now`."""
