"""Asks whether the first server takes a connection: a tunnel that is said to be up should lead somewhere."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from tunflow.endpoint import Address
from tunflow.errors import RemoteError
from tunflow.loop.sockets import SocketOptions
from tunflow.outbound.dial import ATTEMPT_DELAY
from tunflow.outbound.dial_asyncio import NotConnected, dial

PATIENCE = 5.0
"""Seconds for the last address: three of the kernel's SYNs (RFC 6298 §2: the first time-out is one second)."""


async def probe(addresses: Sequence[Address], sockets: SocketOptions, patience: float = PATIENCE) -> None:
    """Return once one of the addresses took a TCP connection within `patience` seconds; at once where there are none.

    Raises RemoteError.
    """
    if not addresses:
        return
    try:
        (await dial(addresses, sockets, patience + ATTEMPT_DELAY * (len(addresses) - 1))).close()
    except NotConnected as failed:
        where = " or ".join(sorted({str(address.sockaddr[0]) for address in addresses}))
        why = "; ".join(sorted(set(map(_words, failed.errors.values()))))
        raise RemoteError(f"cannot reach the server at {where} port {addresses[0].sockaddr[1]}: {why}") from failed


def _words(error: int) -> str:
    return "no answer" if error == errno.ETIMEDOUT else os.strerror(error)
