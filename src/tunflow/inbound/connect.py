"""Reaching a target: its name resolved, its addresses tried in order until one answers.

Rules: nothing blocks the loop; each address gets its time (RFC 8305 tries addresses in parallel, a server
next to its targets does well with one after the other); the outcome is told exactly once, unless it is
cancelled.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable

from tunflow.endpoint import Endpoint, endpoint
from tunflow.inbound.resolver import Addresses, Resolver
from tunflow.loop.reactor import WRITE, Reactor, Timer
from tunflow.loop.socket_address import address_of

NEXT_ADDRESS_SECONDS = 3.0
"""How long an address is waited for while another one is left to try."""

LAST_ADDRESS_SECONDS = 20.0

ADDRESSES_TRIED = 8

Outcome = Callable[[socket.socket | None, int], None]
"""Takes the connected non-blocking socket and 0, or None and the errno that the last address ended with."""


class Connecting:
    """One attempt to reach one target over TCP."""

    def __init__(self, reactor: Reactor, resolver: Resolver, target: Endpoint, outcome: Outcome) -> None:
        self._reactor = reactor
        self._outcome: Outcome | None = outcome
        self._port = target.port
        self._left: list[bytes] = []
        self._socket: socket.socket | None = None
        self._timer: Timer | None = None
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
        self._drop_socket()

    def _on_addresses(self, addresses: Addresses) -> None:
        if self._outcome is None:
            return
        self._left = list(addresses[:ADDRESSES_TRIED])
        self._next(errno.EADDRNOTAVAIL)

    def _next(self, error: int) -> None:
        """Start on the next address; with none left, end with `error`, that of the one before."""
        while self._left:
            address = address_of(Endpoint(self._left.pop(0), self._port))
            try:
                self._socket = socket.socket(address.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            except OSError as failure:
                error = failure.errno or errno.EIO
                continue
            error = self._socket.connect_ex(address.sockaddr)
            if error in (0, errno.EINPROGRESS):
                patience = NEXT_ADDRESS_SECONDS if self._left else LAST_ADDRESS_SECONDS
                self._timer = self._reactor.call_later(patience, self._on_timeout)
                self._reactor.add(self._socket.fileno(), WRITE, self._on_event)
                return
            self._drop_socket()
        self._finish(None, error)

    def _on_event(self, _events: int) -> None:
        assert self._socket is not None
        error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._drop_socket()
            self._next(error)
            return
        connected, self._socket = self._socket, None
        self._reactor.remove(connected.fileno())
        self._finish(connected, 0)

    def _on_timeout(self) -> None:
        self._drop_socket()
        self._next(errno.ETIMEDOUT)

    def _drop_socket(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._socket is not None:
            self._reactor.remove(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _finish(self, connected: socket.socket | None, error: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        outcome, self._outcome = self._outcome, None
        if outcome is not None:
            outcome(connected, error)


def why(error: int) -> str:
    """An errno in words for the log; the one that stands for an unknown name is named so."""
    return "no such name" if error == errno.EADDRNOTAVAIL else os.strerror(error)
