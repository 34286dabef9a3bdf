"""Where one server can be reached: its addresses in the order to try them, and which of them worked last.

All chains that begin with a server share this, and so do streams and datagrams: what one of them learns spares the next
one the wait for an address that does not answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from tunflow.endpoint import Address

LOOK_UP_EVERY = 3.0
"""Seconds between two lookups of a name whose addresses do not answer."""

LookUp = Callable[[Callable[[Sequence[Address]], None]], None]
"""Begins to look a server's name up; what it is given is called with what was found, from any thread, if at all."""


class ServerAddresses:
    """The addresses of one server; `look_up` finds them anew, where they belong to a name.

    `is_coming` says whether one is being started that is to listen there: who is refused then asks again.
    """

    __slots__ = ("_look_up", "_looked_up_at", "best", "has_choice", "in_order", "is_coming")

    def __init__(
        self,
        addresses: Iterable[Address],
        look_up: LookUp | None = None,
        is_coming: Callable[[], bool] = lambda: False,
    ) -> None:
        self.is_coming = is_coming
        self.in_order = interleaved(addresses)
        """The one that last worked first, then the families in turns."""
        self.best: Address | None = None
        """The one that last worked; None while none has."""
        self.has_choice = look_up is not None or len(self.in_order) > 1
        """True if there is another address to try, or may be."""
        self._look_up = look_up
        self._looked_up_at: float | None = None

    def worked(self, address: Address) -> None:
        """Say that the server was reached at `address`: it is tried first from now on."""
        if address in self.in_order:
            self.best = address
            if self.in_order[0] is not address:
                self.in_order = interleaved((address, *self.in_order))

    def doubted(self, now: float) -> None:
        """Say that no address answers, or none soon: they are looked up again, unless that was done just now."""
        if self._look_up is None:
            return
        if self._looked_up_at is None or now - self._looked_up_at >= LOOK_UP_EVERY:
            self._looked_up_at = now
            self._look_up(self.use)

    def use(self, addresses: Sequence[Address]) -> None:
        """Go on with these; with the old ones where there are none."""
        if addresses and set(addresses) != set(self.in_order):
            best = self.best if self.best in addresses else None
            self.best = best
            self.in_order = interleaved(addresses if best is None else (best, *addresses))


def interleaved(addresses: Iterable[Address]) -> tuple[Address, ...]:
    """Each address once, the first one first, then families in turns, in their own order (RFC 8305 §4)."""
    left = list(dict.fromkeys(addresses))
    found: list[Address] = []
    while left:
        last = found[-1].family if found else None
        found.append(next((each for each in left if each.family != last), left[0]))
        left.remove(found[-1])
    return tuple(found)
