"""Asks for a web page around the tunnel: on-demand rules want to know whether one answers, and login pages are found
by what answers for another.

One request in sockets of the tunnel's own mark; redirects are not followed, for that is how captive portals answer.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress

from tunflow.errors import BadPacket, RemoteError
from tunflow.loop.sockets import SocketOptions
from tunflow.numbers import NotANumber, whole_number
from tunflow.outbound.dial_asyncio import dial
from tunflow.protocols.server_addresses import interleaved
from tunflow.tunnel.portal_signs import PageAnswer
from tunflow.tunnel.server_names import ServerNames
from tunflow.urls import parse_url

PATIENCE = 3.0
"""Seconds for all of it."""
LONGEST_HEAD = 32768
LARGEST_BODY = 65536
"""Bytes that are read of an answer; what is behind them is left."""


async def answers(url: str, names: ServerNames, sockets: SocketOptions) -> bool:
    """Return True if the URL (http or https) answers with status 200."""
    with suppress(RemoteError):
        return (await fetch(url, names, sockets)).status == 200
    return False


async def fetch(
    url: str, names: ServerNames, sockets: SocketOptions, headers: Mapping[str, str] | None = None
) -> PageAnswer:
    """What the URL (http or https) answers, within `PATIENCE`. Raises RemoteError."""
    try:
        async with asyncio.timeout(PATIENCE):
            return await _fetch(url, names, sockets, headers or {})
    except TimeoutError:
        raise RemoteError(f"{url}: no answer within {PATIENCE:.0f} s") from None
    except (OSError, ValueError) as error:
        raise RemoteError(f"{url}: {error}") from None


async def _fetch(url: str, names: ServerNames, sockets: SocketOptions, headers: Mapping[str, str]) -> PageAnswer:
    parts = parse_url(url)
    is_secure = parts.scheme == "https"
    host = parts.host
    sock = await dial(interleaved(await names.within(host, parts.port or (443 if is_secure else 80))), sockets)
    try:
        reader, writer = await asyncio.open_connection(
            sock=sock,
            ssl=ssl.create_default_context() if is_secure else None,
            server_hostname=host if is_secure else None,
            limit=LONGEST_HEAD,
        )
    except BaseException:
        sock.close()
        raise
    try:
        lines = [f"GET {parts.target} HTTP/1.1", f"Host: {parts.where}", "User-Agent: tunflow", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode("ascii"))
        head = await reader.readuntil(b"\r\n\r\n")
        return answer_untrusted(head, await _body(reader, body_size_untrusted(head)))
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        raise RemoteError(f"{url}: not a web server's answer") from None
    finally:
        writer.close()


async def _body(reader: asyncio.StreamReader, size: int) -> bytes:
    """What follows, however it is framed: what is looked for stands near its beginning."""
    body = bytearray()
    while len(body) < size and (part := await reader.read(size)):
        body += part
    return bytes(body[:size])


def body_size_untrusted(head: bytes) -> int:
    """How much of a body to wait for: to its end where the head tells that, since not everybody then hangs up."""
    for line in head.decode("latin-1").split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-length":
            with suppress(NotANumber):
                return whole_number(value.strip(), LARGEST_BODY)
    return LARGEST_BODY


def answer_untrusted(head: bytes, body: bytes) -> PageAnswer:
    """An answer from its head with the empty line, and the bytes behind it (RFC 9112 §2). Raises BadPacket."""
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(None, 2)
    if len(words) < 2 or not words[0].startswith("HTTP/"):
        raise BadPacket("not a web server's answer")
    try:
        status = whole_number(words[1], 999)
    except ValueError:
        raise BadPacket("a status that is no number") from None
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            headers.setdefault(name.strip().lower(), value.strip())
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body = body.partition(b"\r\n")[2]  # the first chunk, which is all of a short page
    return PageAnswer(status, headers, body)
