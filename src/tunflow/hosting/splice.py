"""Moves bytes between a program's flow and a connection of the provider's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tunflow.providers.connections import TCPConnection
from tunflow.providers.errors import flow_error

if TYPE_CHECKING:
    from tunflow.hosting.tcp_flow import StackTCPFlow


async def splice(flow: StackTCPFlow, connection: TCPConnection) -> None:
    """Both ways, half-close kept, until both are done; the first error ends both sides. Raises AppProxyFlowError."""

    async def up() -> None:
        while pieces := await flow.read_pieces():
            await connection.write(*pieces)
        connection.write_close()

    async def down() -> None:
        while data := await connection.read(128 * 1024):
            await flow.write(data)
        flow.close_write()

    directions = [asyncio.ensure_future(up()), asyncio.ensure_future(down())]
    try:
        await asyncio.gather(*directions)
    except BaseException as error:
        for direction in directions:
            direction.cancel()
        flow.close_write(error)
        flow.close_read(error)
        if isinstance(error, OSError):
            raise flow_error(error) from error
        raise
    finally:
        flow.close_read()
        connection.cancel()
