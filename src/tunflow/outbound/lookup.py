"""Where a server is, by the system's resolver; asked again in a thread when none of its addresses answers.

What was found stays until something else is found: a resolver that fails does no harm.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from tunflow.addresses import ip_address
from tunflow.endpoint import Address
from tunflow.errors import LocalError, RemoteError
from tunflow.protocols.server_addresses import ServerAddresses

if TYPE_CHECKING:
    from tunflow.loop.threads import BackgroundThreads


class NoAddress(RemoteError):
    """A server's name could not be resolved."""


def find_by_system(host: str, port: int) -> ServerAddresses:
    """Where a server is as the system's resolver says; blocks. Raises NoAddress, or LocalError for no host name."""
    return ServerAddresses(resolve(host, port), None if is_address(host) else _SystemLookUp(host, port))


class _SystemLookUp:
    """Looks one name up, in a thread that is made for the first time; one lookup at a time."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._threads: BackgroundThreads | None = None
        self._is_asking = False

    def __call__(self, use: Callable[[Sequence[Address]], None]) -> None:
        if self._is_asking:
            return
        self._is_asking = True
        if self._threads is None:
            from tunflow.loop.threads import BackgroundThreads  # noqa: PLC0415 - most addresses answer

            self._threads = BackgroundThreads()
        self._threads.submit(self._ask, use)

    def _ask(self, use: Callable[[Sequence[Address]], None]) -> None:
        try:
            with suppress(NoAddress, LocalError):
                use(resolve(self._host, self._port))
        finally:
            self._is_asking = False


def is_address(host: str) -> bool:
    """Return True if a host is an address, which needs no looking up."""
    try:
        ip_address(host, zone=True)
    except ValueError:
        return False
    return True


def resolve(host: str, port: int) -> tuple[Address, ...]:
    """The addresses of a server by the system's resolver, in the order to try them; blocks.

    Raises NoAddress, or LocalError for what is no host name.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except ValueError as error:
        raise LocalError(f"the server's name {host!r} cannot be resolved: not a host name") from error
    except OSError as error:
        raise NoAddress(f"the server's name {host!r} cannot be resolved: {error.strerror}") from error
    addresses = [
        Address(family, sockaddr)
        for family, _, _, _, sockaddr in found
        if family in {socket.AF_INET, socket.AF_INET6} and len(sockaddr) in {2, 4} and isinstance(sockaddr[0], str)
    ]
    if not addresses:
        raise NoAddress(f"the server's name {host!r} has no IPv4 or IPv6 address")
    return tuple(dict.fromkeys(addresses))
