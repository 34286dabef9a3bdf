"""Whether the first server takes a connection: a tunnel that is said to be up should lead somewhere."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence

from tunflow.endpoint import Address
from tunflow.errors import RemoteError
from tunflow.loop.sockets import SocketOptions

PATIENCE = 5.0
"""Seconds for one address: three of the kernel's SYNs (RFC 6298 §2: the first time-out is one second)."""

HEAD_START = 0.25
"""Seconds that each address has before the next is tried beside it (RFC 8305 §8, Connection Attempt Delay)."""


async def probe(addresses: Sequence[Address], sockets: SocketOptions, patience: float = PATIENCE) -> None:
    """Return once one of the addresses took a TCP connection within `patience` seconds; at once where there are none.

    Raises RemoteError.
    """
    if not addresses:
        return
    tries = [
        asyncio.create_task(_try(address, sockets, index * HEAD_START, patience))
        for index, address in enumerate(addresses)
    ]
    why: list[str] = []
    try:
        for done in asyncio.as_completed(tries):
            error = await done
            if error is None:
                return
            why.append(error)
    finally:
        for each in tries:
            each.cancel()
    where = " or ".join(sorted({str(address.sockaddr[0]) for address in addresses}))
    raise RemoteError(
        f"cannot reach the server at {where} port {addresses[0].sockaddr[1]}: {'; '.join(sorted(set(why)))}"
    )


async def _try(address: Address, sockets: SocketOptions, delay: float, patience: float) -> str | None:
    """Why there is no connection; None when there is one."""
    await asyncio.sleep(delay)
    try:
        with sockets.open(address.family, socket.SOCK_STREAM) as sock:
            async with asyncio.timeout(patience):
                await asyncio.get_running_loop().sock_connect(sock, address.sockaddr)
    except TimeoutError:
        return "no answer"
    except OSError as error:
        return os.strerror(error.errno) if error.errno else str(error)
    return None
