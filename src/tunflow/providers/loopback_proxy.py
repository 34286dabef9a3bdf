"""A SOCKS 5 port on loopback for a program that a provider runs: its connections go where the provider's own go.

The program opens nothing by itself, so it is neither captured by the tunnel that it makes, nor does it need marks or
rights; and a server can be reached through other servers. A user name and password of 128 random bits keep everybody
else on the machine out. Read first: RFC 1928, RFC 1929.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress

from tunflow.endpoint import Endpoint, endpoint
from tunflow.errors import LocalError
from tunflow.providers.connections import TCPConnection

Connect = Callable[[Endpoint], Awaitable[TCPConnection]]

_VERSION, _SIGN_IN_VERSION, _USER_AND_PASSWORD, _CONNECT = 5, 1, 2, 1
_IPV4, _NAME, _IPV6 = 1, 3, 4
_NO_METHOD = b"\x05\xff"
_NOWHERE = b"\x00\x01" + bytes(6)
_REACHED, _REFUSED, _NOT_SUPPORTED = b"\x05\x00" + _NOWHERE, b"\x05\x04" + _NOWHERE, b"\x05\x07" + _NOWHERE
PATIENCE = 30.0
"""Seconds for a client to say what it wants, and for its target to be reached."""


class LoopbackProxy:
    """Serves until `close`."""

    def __init__(self, connect: Connect) -> None:
        """`connect` opens a connection. Raises OSError, LocalError."""
        self._connect = connect
        self._user, self._password = secrets.token_hex(8), secrets.token_hex(16)
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. Raises OSError."""
        self._server = await asyncio.start_server(self._welcome, "127.0.0.1", 0)

    @property
    def url(self) -> str:
        """Where it is, with its password."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return f"socks5://{self._user}:{self._password}@127.0.0.1:{port}"

    def close(self) -> None:
        """End it and all its connections."""
        if self._server is not None:
            self._server.close()
        for client in self._clients:
            client.cancel()

    def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer), name="a program's connection")
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, EOFError, TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    connection = await self._agree(reader, writer)
                if connection is not None:
                    await _carry(connection, reader, writer)
        finally:
            writer.close()

    async def _agree(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> TCPConnection | None:
        """The connection that the client asks for, None where it is refused. Raises OSError, EOFError."""
        version, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        if version != _VERSION or _USER_AND_PASSWORD not in methods:
            writer.write(_NO_METHOD)
            return None
        writer.write(bytes((_VERSION, _USER_AND_PASSWORD)))
        version, size = await reader.readexactly(2)
        user = await reader.readexactly(size)
        password = await reader.readexactly((await reader.readexactly(1))[0])
        is_known = hmac.compare_digest(user + b":" + password, f"{self._user}:{self._password}".encode())
        writer.write(bytes((_SIGN_IN_VERSION, 0 if is_known and version == _SIGN_IN_VERSION else 1)))
        if not is_known:
            return None
        version, command, _, kind = await reader.readexactly(4)
        if version != _VERSION or command != _CONNECT or kind not in {_IPV4, _NAME, _IPV6}:
            writer.write(_NOT_SUPPORTED)
            return None
        size = {_IPV4: 4, _IPV6: 16}.get(kind) or (await reader.readexactly(1))[0]
        host = await reader.readexactly(size)
        port = int.from_bytes(await reader.readexactly(2), "big")
        try:
            target = endpoint(host.decode("ascii", "replace"), port) if kind == _NAME else Endpoint(host, port)
            connection = await self._connect(target)
        except (OSError, LocalError):
            writer.write(_REFUSED)
            return None
        writer.write(_REACHED)
        return connection


async def _carry(connection: TCPConnection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Bytes both ways until either end is gone. Raises OSError."""

    async def down() -> None:
        while data := await connection.read():
            writer.write(data)
            await writer.drain()

    async def up() -> None:
        while data := await reader.read(65536):
            await connection.write(data)

    ways = [asyncio.ensure_future(way) for way in (down(), up())]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        connection.cancel()
