"""The path of a socket: which addresses its packets go between."""

from __future__ import annotations

import socket

Path = tuple[bytes, bytes]
"""A socket's local and far address, packed."""


def path_of(sock: socket.SocketType, far: str) -> Path | None:
    """Return the path of a connected or connecting socket; None when it is on none."""
    try:
        local = sock.getsockname()[0]
        family = sock.family
        return socket.inet_pton(family, local.partition("%")[0]), socket.inet_pton(family, far.partition("%")[0])
    except OSError:
        return None
