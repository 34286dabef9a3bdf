"""Which names a client meant by an address: remembered from the answers it got.

Rules: kept for each client and address apart, because two clients may know one address by two names; all names told for
an address are kept, the latest first, because sites share addresses; bounded, what was told longest ago goes first. It
is a hint.

A client asks over one IP version for addresses of both, and nobody knows which of its own addresses it will use for the
other: what it was told of that one counts for all clients.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

MOST = 16_384
"""Clients' addresses."""
MOST_NAMES = 64
"""Of one address. The largest networks that deliver for others have thousands; no client asks for all of them."""
LIFE = 7200.0
"""Seconds after the answer: programs keep addresses for longer than they were told."""

ANYBODY = b""
"""In place of a client: of the other IP version."""


class SeenNames:
    """Client and address (packed) to names."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._names: OrderedDict[tuple[bytes, bytes], dict[str, float]] = OrderedDict()
        """Each name with the end of its life, the latest last."""

    def __len__(self) -> int:
        return len(self._names)

    def told(self, client: bytes, name: str, addresses: Iterable[bytes], now: float) -> None:
        """`client` was told that `name` has `addresses`."""
        for address in addresses:
            key = (client if len(client) == len(address) else ANYBODY), address
            names = self._names.get(key)
            if names is None:
                names = self._names[key] = {}
            else:
                self._names.move_to_end(key)
                names.pop(name, None)
                if len(names) >= MOST_NAMES:
                    del names[next(iter(names))]
            names[name] = now + LIFE
        while len(self._names) > self._most:
            self._names.popitem(last=False)

    def names_of(self, client: bytes, address: bytes, now: float) -> tuple[str, ...]:
        """The names that `client` was told lately for `address`, the latest first."""
        found = self._names.get((client, address)) or self._names.get((ANYBODY, address))
        if found is None:
            return ()
        return tuple(name for name, end in reversed(found.items()) if now < end)
