"""Where the server listens, and how it accepts.

Rules: as many connections are accepted as there are descriptors for; at the limit those that have proved
nothing go first, and when there are none the rest waits in the kernel's queue until a descriptor comes
back. The limit is told in one line. The same holds when the system itself refuses (EMFILE, ENFILE, ENOBUFS,
ENOMEM).
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Callable
from typing import cast

from tunflow.contained import Contained
from tunflow.endpoint import Address, Endpoint, SocketAddress, endpoint
from tunflow.errors import LocalError
from tunflow.inbound.relay import DESCRIPTORS, keep_alive
from tunflow.inbound.server_context import ServerContext
from tunflow.inbound.udp import endpoint_of
from tunflow.loop.reactor import READ, Timer

ACCEPTS_PER_TURN = 64

BACKLOG = 4096
"""Asked of the kernel, which grants up to net.core.somaxconn."""

RETRY_SECONDS = 1.0
"""How often it is tried again meanwhile: the system does not tell when it has room."""

GRACE_SECONDS = 5.0
"""How long a connection is left to name its target before it may have to make room for another."""

_ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
"""Addresses that nobody has (RFC 5737, RFC 3849)."""

_FREE_PORTS = 8
"""How many free ports are tried that are not free for both."""

NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Listener(Contained):
    """One listening stream socket; `welcome` takes each accepted socket and its peer's name."""

    def __init__(
        self, shared: ServerContext, listening: socket.socket, welcome: Callable[[socket.socket, str], None]
    ) -> None:
        self._shared = shared
        self._socket = listening
        self._welcome = welcome
        self._accepted: socket.socket | None = None
        """Who was accepted and is nobody else's yet."""
        self._paused = True
        self._retry: Timer | None = None
        self._resume()

    about = "accepting a connection"

    def cut(self) -> None:
        """That connection is lost."""
        accepted, self._accepted = self._accepted, None
        if accepted is not None and accepted.fileno() >= 0:
            accepted.close()
            self._shared.budget.give(DESCRIPTORS)

    def close(self) -> None:
        """Stop listening."""
        if self._retry is not None:
            self._retry.cancel()
        self._shared.reactor.remove(self._socket.fileno())
        self._socket.close()

    def _on_readable(self, _events: int) -> None:
        budget = self._shared.budget
        for _ in range(ACCEPTS_PER_TURN):
            if not self._make_room():
                budget.when_free(self._resume)
                self._pause("the limit of open files is reached")
                return
            try:
                client, sockaddr = self._socket.accept()
            except OSError as error:
                budget.give(DESCRIPTORS)
                if error.errno in NO_ROOM:
                    self._pause(os.strerror(error.errno))
                if isinstance(error, BlockingIOError) or error.errno in NO_ROOM:
                    return
                continue  # the connection ended while it waited (accept(2) passes its error on)
            try:
                client.setblocking(False)
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                keep_alive(client)
            except OSError:  # some systems refuse options on a connection that was reset already
                client.close()
                budget.give(DESCRIPTORS)
                continue
            self._accepted = client
            self._welcome(client, str(endpoint_of(sockaddr)))
            self._accepted = None

    def _make_room(self) -> bool:
        """Take a relay's descriptors, if need be from connections that proved nothing. Return True if there are."""
        shared = self._shared
        while not shared.budget.take(DESCRIPTORS):
            if shared.silence.drop_oldest():
                continue
            newcomer, since = next(iter(shared.newcomers.items()), (None, 0.0))
            if newcomer is None or shared.reactor.now < since + GRACE_SECONDS:
                return False
            newcomer.close()
        return True

    def _pause(self, reason: str) -> None:
        self._shared.reactor.remove(self._socket.fileno())
        self._paused = True
        self._retry = self._shared.reactor.call_later(RETRY_SECONDS, self._resume)
        self._shared.log.tell("accept", f"{reason}: new connections wait until others end")

    def _resume(self) -> None:
        if self._paused and self._socket.fileno() >= 0:
            self._paused = False
            if self._retry is not None:
                self._retry.cancel()
            self._shared.reactor.add(self._socket.fileno(), READ, self._on_readable)


def listening_sockets(host: str, port: int) -> list[tuple[socket.socket, socket.socket]]:
    """A stream and a datagram socket, bound to one port, for each address of `host` (empty: all addresses).

    Port 0 takes a free port. Raises LocalError, with nothing left open.
    """
    pairs: list[tuple[socket.socket, socket.socket]] = []
    try:
        for address in _addresses(host, port):
            pairs.append(_bound_pair(address))
    except OSError as error:
        for pair in pairs:
            for opened in pair:
                opened.close()
        raise LocalError(_why_not(host, port, error)) from error
    return pairs


def _addresses(host: str, port: int) -> list[Address]:
    if not host:
        everywhere = Address(socket.AF_INET6, ("::", port, 0, 0))
        return [everywhere if _has_ipv6() else Address(socket.AF_INET, ("0.0.0.0", port))]  # noqa: S104
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except ValueError:  # what IDNA cannot encode, or a byte of zeros
        raise LocalError(f"cannot listen on {host!r} port {port}: no name of a host") from None
    unique = {(entry[0], entry[4]): None for entry in found}
    return [Address(family, cast("SocketAddress", sockaddr)) for family, sockaddr in unique]


def address_to_type(listening: Endpoint) -> Endpoint:
    """An address under which `listening` is reached: itself, or where it stands for all of the machine's, the one that
    the machine leaves from, and loopback if it is not connected to anything."""
    host = listening.host
    if not isinstance(host, bytes) or any(host):
        return listening
    for family, elsewhere in _ELSEWHERE if len(host) == 16 else _ELSEWHERE[:1]:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((elsewhere, 9))  # asks the routing table; nothing is sent
            return Endpoint(endpoint_of(probe.getsockname()).host, listening.port)
    return endpoint("127.0.0.1", listening.port)


def _has_ipv6() -> bool:
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_STREAM).close()
    except OSError:
        return False
    return True


def _bound_pair(address: Address) -> tuple[socket.socket, socket.socket]:
    """Raises OSError. A free port is one for streams first; another one where it is in use for datagrams."""
    for _ in range(_FREE_PORTS if address.sockaddr[1] == 0 else 0):
        with contextlib.suppress(OSError):
            return _bound_both(address)
    return _bound_both(address)


def _bound_both(address: Address) -> tuple[socket.socket, socket.socket]:
    stream = _bound(address, socket.SOCK_STREAM)
    try:
        stream.listen(BACKLOG)
        host, port = stream.getsockname()[:2]
        rest = address.sockaddr[2:]  # flow label and scope of IPv6
        return stream, _bound(Address(address.family, (host, port, *rest)), socket.SOCK_DGRAM)
    except OSError:
        stream.close()
        raise


def _bound(address: Address, kind: socket.SocketKind) -> socket.socket:
    opened = socket.socket(address.family, kind | socket.SOCK_NONBLOCK)
    try:
        if kind == socket.SOCK_STREAM:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address.family == socket.AF_INET6:
            both = address.sockaddr[0] == "::"
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if both else 1)
        opened.bind(address.sockaddr)
    except OSError:
        opened.close()
        raise
    return opened


def _why_not(host: str, port: int, error: OSError) -> str:
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if error.errno == errno.EADDRINUSE:
        return f"cannot listen on {where}: the port is in use; choose another one"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"cannot listen on {where}: not an address of this machine; leave the host out for all of them"
    if error.errno == errno.EACCES:
        return f"cannot listen on {where}: ports below 1024 are for root; choose a higher one"
    if isinstance(error, socket.gaierror):
        return f"cannot listen on {where}: no such host"
    return f"cannot listen on {where}: {error.strerror}"
