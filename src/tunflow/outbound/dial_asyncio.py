"""Dialing in asyncio: serves `outbound.dial` with tasks."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Iterable

from tunflow.endpoint import Address
from tunflow.loop.sockets import SocketOptions
from tunflow.outbound.dial import Dial


class NotConnected(OSError):
    """No address took the connection; `errno` is what says most."""

    def __init__(self, error: int, errors: dict[Address, int]) -> None:
        super().__init__(error, os.strerror(error))
        self.errors = errors
        """Each address's."""


async def dial(addresses: Iterable[Address], sockets: SocketOptions, patience: float | None = None) -> socket.socket:
    """Return a socket that is connected to the first address that answers, within `patience` seconds.

    Raises NotConnected.
    """
    loop = asyncio.get_running_loop()
    machine = Dial(addresses, loop.time(), patience)
    attempts: dict[asyncio.Task[socket.socket], Address] = {}
    try:
        while True:
            while machine.starts:
                address = machine.starts.pop(0)
                attempts[asyncio.create_task(_connect(address, sockets))] = address
            if machine.error is not None:
                raise NotConnected(machine.error, machine.errors)
            when = machine.next_timeout()
            left = None if when is None else max(0.0, when - loop.time())
            done, _ = await asyncio.wait(attempts, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                failure = task.exception()
                if failure is None:
                    machine.connected(attempts.pop(task))
                    return task.result()
                if not isinstance(failure, OSError):
                    raise failure
                machine.failed(attempts.pop(task), failure.errno or errno.EIO, loop.time())
            machine.handle_timeout(loop.time())
    finally:
        for task in attempts:
            if not task.cancel() and not task.cancelled() and task.exception() is None:
                task.result().close()  # it connected in the same moment as the winner


async def _connect(address: Address, sockets: SocketOptions) -> socket.socket:
    sock = sockets.open(address.family, socket.SOCK_STREAM)
    try:
        await asyncio.get_running_loop().sock_connect(sock, address.sockaddr)
    except BaseException:
        sock.close()
        raise
    return sock
