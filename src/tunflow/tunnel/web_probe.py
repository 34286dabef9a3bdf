"""Whether a web page answers with status 200, asked around the tunnel: what on-demand rules want to know of a network.

One request in sockets of the tunnel's own mark; redirects are not followed, for that is how captive portals answer.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from urllib.parse import urlsplit

from tunflow.errors import RemoteError
from tunflow.loop.sockets import SocketOptions
from tunflow.tunnel.server_names import ServerNames

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
    parts = urlsplit(url)
    is_secure = parts.scheme == "https"
    host = parts.hostname or ""
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
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        host_line = f"Host: {parts.netloc.rpartition('@')[2]}"
        request = f"GET {path} HTTP/1.1\r\n{host_line}\r\nUser-Agent: tunflow\r\nConnection: close\r\n\r\n"
        writer.write(request.encode("ascii"))
        line = (await reader.readuntil(b"\n"))[:LONGEST_LINE].split()
        return int(line[1]) if len(line) > 1 and line[0].startswith(b"HTTP/") else 0
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return 0
    finally:
        writer.close()
