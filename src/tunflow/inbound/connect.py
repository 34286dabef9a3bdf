"""Reaching a target: its name resolved, its addresses raced (`outbound.dial`).

Nothing blocks the loop; the outcome is told exactly once, unless it is cancelled.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Container

from tunflow.contained import Contained
from tunflow.endpoint import Address, Endpoint, endpoint
from tunflow.inbound.resolver import Addresses, InboundResolver
from tunflow.loop.reactor import Reactor
from tunflow.loop.socket_address import address_of
from tunflow.loop.sockets import UNMARKED
from tunflow.outbound.dialing import Dialing
from tunflow.protocols.server_addresses import interleaved

ADDRESSES_TRIED = 8
"""Of one name: clients choose the names."""

PATIENCE = 20.0
"""Seconds for one of the addresses to answer."""

OFF_LIMITS = errno.ECHRNG
"""What an attempt ends with whose addresses are all off limits; connect(2) never gives it."""

REASONS = {
    errno.EADDRNOTAVAIL: "no such name",
    OFF_LIMITS: "an address of this host or its links, which only --allow-local opens",
}

Outcome = Callable[[socket.socket | None, int], None]
"""Takes the connected non-blocking socket and 0, or None and the errno that says most."""


class Connecting(Contained):
    """One attempt to reach one target over TCP."""

    def __init__(
        self,
        reactor: Reactor,
        resolver: InboundResolver,
        target: Endpoint,
        outcome: Outcome,
        off_limits: Container[bytes] = (),
    ) -> None:
        """`off_limits` are packed addresses that are not tried, whatever name they come from."""
        self._reactor = reactor
        self._outcome: Outcome | None = outcome
        self._off_limits = off_limits
        self._port = target.port
        self._dialing: Dialing[socket.socket] | None = None
        host = target.host
        if isinstance(host, str):
            host = endpoint(host, target.port).host  # some clients send an address as text
        if isinstance(host, bytes):
            self._on_addresses((host,))
        else:
            resolver.resolve(host, self._on_addresses)

    def cancel(self) -> None:
        """Give up without telling anyone."""
        self._outcome = None
        if self._dialing is not None:
            self._dialing.cancel()

    about = "dialing for a client"

    def cut(self) -> None:
        """As `Contained.cut`."""
        outcome = self._outcome
        self.cancel()
        if outcome is not None:
            outcome(None, errno.ECONNABORTED)

    def _on_addresses(self, addresses: Addresses) -> None:
        if self._outcome is None:
            return
        allowed = [address for address in addresses if address not in self._off_limits]
        if addresses and not allowed:
            self._reactor.call_soon(lambda: self._on_dialled(None, None, OFF_LIMITS))
            return
        found = interleaved(address_of(Endpoint(each, self._port)) for each in allowed)[:ADDRESSES_TRIED]
        self._dialing = Dialing(self._reactor, found, _open, self._on_dialled, patience=PATIENCE)

    def _on_dialled(self, sock: socket.socket | None, _address: Address | None, error: int) -> None:
        outcome, self._outcome = self._outcome, None
        if outcome is not None:
            outcome(sock, error)


def _open(address: Address) -> socket.socket:
    return UNMARKED.open(address.family, socket.SOCK_STREAM)


def why(error: int) -> str:
    """An errno in words for the log."""
    return REASONS.get(error) or os.strerror(error)
