"""Moves bytes between a program's flow and a connection of the provider's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from tunflow.endpoint import Buffer
from tunflow.providers.connections import TCPConnection
from tunflow.providers.errors import flow_error


class Pieces(Protocol):
    """A program's flow."""

    async def read_pieces(self) -> Sequence[Buffer]:
        """What the program sent; empty at the end."""

    async def write(self, data: Buffer) -> None:
        """Queue data for the program."""

    def close_read(self, error: BaseException | None = None) -> None:
        """Discard what the program sends."""

    def close_write(self, error: BaseException | None = None) -> None:
        """The end of the stream, or a failure."""


async def splice(flow: Pieces, connection: TCPConnection) -> None:
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
