"""Dialing as a machine: the addresses of one host in a race, of which the first that connects wins (RFC 8305 §5).

It opens nothing. It says which address to try now (`starts`), is told what became of each, and says when it wants to be
called again. `outbound.dialing` serves it on the loop, `outbound.dial_asyncio` in asyncio.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Iterable

from tunflow.endpoint import Address

ATTEMPT_DELAY = 0.25
"""Seconds that each address has before the next is tried beside it (RFC 8305 §8, Connection Attempt Delay)."""

_TELLING = (errno.ECONNREFUSED, errno.EACCES, errno.EPERM, errno.ECONNRESET, errno.ETIMEDOUT, errno.EHOSTUNREACH)
"""Errors, the one that says most first: a host that refuses is there, and one network that has no way says nothing of
the host."""


class Dial:
    """One race, which begins at `now` and ends after `patience` seconds, if that is given; addresses in order."""

    def __init__(self, addresses: Iterable[Address], now: float, patience: float | None = None) -> None:
        self.starts: list[Address] = []
        """Addresses to try now; the driver takes them out."""
        self.winner: Address | None = None
        self.errors: dict[Address, int] = {}
        """What became of those that failed, as errno."""
        self._left: deque[Address] = deque()
        self._known: set[Address] = set()
        self._running: set[Address] = set()
        self._next_at = now
        self._ends_at = None if patience is None else now + patience
        self._is_over = False
        self.add(addresses, now)

    @property
    def error(self) -> int | None:
        """Why there is no connection, as the errno that says most; None while there may still be one."""
        if self.winner is not None or not self._is_over:
            return None
        found = set(self.errors.values())
        return next((each for each in _TELLING if each in found), None) or next(iter(found), errno.EADDRNOTAVAIL)

    def add(self, addresses: Iterable[Address], now: float) -> None:
        """More addresses to try, behind those that are left; those that are known already do not count."""
        for address in addresses:
            if address not in self._known:
                self._known.add(address)
                self._left.append(address)
        self._go_on(now)

    def connected(self, address: Address) -> None:
        """One has connected: all others are to be closed."""
        self._running.discard(address)
        self.winner = address
        self._is_over = True
        self.starts.clear()

    def failed(self, address: Address, error: int, now: float) -> None:
        """One has failed: the next has its turn at once (RFC 8305 §5)."""
        self.given_up(address, error)
        self._next_at = now
        self._go_on(now)

    def given_up(self, address: Address, error: int = errno.ETIMEDOUT) -> None:
        """One was closed to make room for the next, which is being tried already."""
        self._running.discard(address)
        self.errors[address] = error

    def next_timeout(self) -> float | None:
        """As `Timed.next_timeout`."""
        if self._is_over:
            return None
        if not self._left:
            return self._ends_at
        return self._next_at if self._ends_at is None else min(self._next_at, self._ends_at)

    def handle_timeout(self, now: float) -> None:
        """As `Timed.handle_timeout`."""
        if self._is_over:
            return
        if self._ends_at is not None and now >= self._ends_at:
            for address in self._running:
                self.errors[address] = errno.ETIMEDOUT
            self._running.clear()
            self._left.clear()
            self._is_over = True
            return
        self._go_on(now)

    def _go_on(self, now: float) -> None:
        if self._is_over:
            return
        if self._left and now >= self._next_at:
            address = self._left.popleft()
            self._running.add(address)
            self.starts.append(address)
            self._next_at = now + ATTEMPT_DELAY
        self._is_over = not self._running and not self._left
