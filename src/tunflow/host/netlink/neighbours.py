"""Which network card a client of the LAN is: its hardware (MAC) address, from the kernel's neighbour table.

Only read: no address is resolved for it. The kernel knows a client from the moment at which that asked for this host's
own hardware address (ARP, RFC 826; neighbour solicitation, RFC 4861), or was sent something; who does not stand in the
table is unknown, and whoever asks must have an answer to that.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from tunflow.host.netlink.route_query import RouteQuery

LIFE = 1.0
"""Seconds for which an answer is remembered: a flow or two in a burst, not longer than a client takes to come back with
another address."""

CAPACITY = 4096
"""Answers remembered at most."""


class Neighbours:
    """The clients behind `interfaces`, which may be changed at any time. Raises OSError.

    `clock` tells the seconds after which an answer is asked for again.
    """

    def __init__(self, interfaces: Sequence[str] = (), *, clock: Callable[[], float] = time.monotonic) -> None:
        self.interfaces = interfaces
        self._clock = clock
        self._query = RouteQuery()
        self._known: dict[bytes, tuple[float, bytes | None]] = {}

    def close(self) -> None:
        """Give the descriptor back."""
        self._query.close()

    def find(self, address: bytes) -> bytes | None:
        """The hardware address of the client with a packed address; b"" for this host itself, None when unknown.

        Without interfaces there is no LAN, and nobody is known."""
        if not self.interfaces:
            return None
        now = self._clock()
        until, found = self._known.get(address, (0.0, None))
        if now < until:
            return found
        found = self._ask(address)
        if found is not None:  # who is unknown may be known with the next packet
            if len(self._known) >= CAPACITY:
                self._known.clear()
            self._known[address] = now + LIFE, found
        return found

    def _ask(self, address: bytes) -> bytes | None:
        for name in self.interfaces:
            with suppress(OSError):  # nobody there has that address, or the interface is gone for a while
                found = self._query.neighbour(address, socket.if_nametoindex(name))
                if found is not None:
                    return found
        with suppress(OSError):
            if address in self._query.addresses():
                return b""
        return None
