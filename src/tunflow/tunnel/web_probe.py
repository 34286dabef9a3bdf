"""Whether a web page answers with status 200, asked around the tunnel: what on-demand rules want to know of a network.

One request in sockets of the tunnel's own mark; redirects are not followed, for that is how captive portals answer.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress

from tunflow.errors import RemoteError
from tunflow.loop.sockets import SocketOptions
from tunflow.numbers import whole_number
from tunflow.tunnel.server_names import ServerNames
from tunflow.urls import parse_url

PATIENCE = 3.0
"""Seconds for all of it."""
LONGEST_LINE = 4096


async def answers(url: str, names: ServerNames, sockets: SocketOptions) -> bool:
    """Whether the URL (http or https) answers with status 200."""
    with suppress(OSError, TimeoutError, RemoteError, ValueError):
        async with asyncio.timeout(PATIENCE):
            return await _status(url, names, sockets) == 200
    return False


async def _status(url: str, names: ServerNames, sockets: SocketOptions) -> int:
    parts = parse_url(url)
    is_secure = parts.scheme == "https"
    host = parts.host
    (address, *_) = await names.within(host, parts.port or (443 if is_secure else 80))
    sock = sockets.open(address.family, socket.SOCK_STREAM)
    try:
        await asyncio.get_running_loop().sock_connect(sock, address.sockaddr)
        reader, writer = await asyncio.open_connection(
            sock=sock,
            ssl=ssl.create_default_context() if is_secure else None,
            server_hostname=host if is_secure else None,
        )
    except BaseException:
        sock.close()
        raise
    try:
        request = (
            f"GET {parts.target} HTTP/1.1\r\nHost: {parts.where}\r\nUser-Agent: tunflow\r\nConnection: close\r\n\r\n"
        )
        writer.write(request.encode("ascii"))
        line = (await reader.readuntil(b"\n"))[:LONGEST_LINE].split()
        return whole_number(line[1], 999) if len(line) > 1 and line[0].startswith(b"HTTP/") else 0
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return 0
    finally:
        writer.close()
