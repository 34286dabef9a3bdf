"""Which name a client meant by an address: remembered from the answers it got.

Rules: kept for each client and address apart, because two clients may know one address by two names; the latest answer
wins; bounded, what was told longest ago goes first. It is a hint: addresses are shared by names.

A client asks over one IP version for addresses of both, and nobody knows which of its own addresses it will use for the
other: what it was told of that one counts for all clients.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

MOST = 16_384
LIFE = 7200.0
"""Seconds after the answer: programs keep addresses for longer than they were told."""

ANYBODY = b""
"""In place of a client: of the other IP version."""


class SeenNames:
    """Client and address (packed) to name."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._names: OrderedDict[tuple[bytes, bytes], tuple[str, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._names)

    def told(self, client: bytes, name: str, addresses: Iterable[bytes], now: float) -> None:
        """`client` was told that `name` has `addresses`."""
        for address in addresses:
            key = (client if len(client) == len(address) else ANYBODY), address
            self._names[key] = name, now + LIFE
            self._names.move_to_end(key)
        while len(self._names) > self._most:
            self._names.popitem(last=False)

    def name_of(self, client: bytes, address: bytes, now: float) -> str | None:
        """The name that `client` was told for `address`; None when there was none lately."""
        found = self._names.get((client, address)) or self._names.get((ANYBODY, address))
        return found[0] if found is not None and now < found[1] else None
