"""The path of a socket: which addresses its packets go between."""

from __future__ import annotations

import socket
from typing import Protocol

Path = tuple[bytes, bytes]
"""A socket's local and far address, packed."""


class SharedConnection(Protocol):
    """A connection to a server that many flows go by, which is on a path as theirs are."""

    @property
    def path(self) -> Path | None:
        """The addresses that its packets go between; None when it is not on its way."""

    def path_lost(self) -> None:
        """Go on by another socket, or end, for no answer comes on this path any more."""


def path_of(sock: socket.SocketType, far: str) -> Path | None:
    """Return the path of a connected or connecting socket; None when it is on none."""
    try:
        local = sock.getsockname()[0]
        family = sock.family
        return socket.inet_pton(family, local.partition("%")[0]), socket.inet_pton(family, far.partition("%")[0])
    except OSError:
        return None
