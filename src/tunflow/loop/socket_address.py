"""Socket addresses of endpoints."""

from __future__ import annotations

import socket
from functools import lru_cache

from tunflow.endpoint import Address, Endpoint


@lru_cache(1024)
def address_of(target: Endpoint) -> Address:
    """The socket address of a packed-address endpoint."""
    assert isinstance(target.host, bytes)
    if len(target.host) == 4:
        return Address(socket.AF_INET, (socket.inet_ntop(socket.AF_INET, target.host), target.port))
    return Address(socket.AF_INET6, (socket.inet_ntop(socket.AF_INET6, target.host), target.port, 0, 0))
