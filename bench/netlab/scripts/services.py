"""`services.py FIRST_PORT`: small TCP servers on consecutive ports of every address, some well-behaved and
some not.

9000 echo; 9001 digest (reads to the end of the stream, then answers "<bytes> <sha256>": half-close is needed
to see it); 9002 long poll (an HTTP answer after the seconds in the path, e.g. GET /20); 9003 random bytes,
then closes; 9004 promises a megabyte, sends half, then says nothing; 9005 never reads; 9006 resets when spoken to;
9007 sends 50 MB as fast as they are read; 9008 speaks first ("hello\\n"), then echoes; 9009 counted digest
(like digest, but as soon as the bytes that the first line promised are there).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import socket
import struct
import sys
from collections.abc import Awaitable, Callable

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
MEGABYTE = 1_000_000
FOREVER = 1_000_000.0


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Everything back."""
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()


async def digest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Count and hash to the end of the stream, then answer."""
    count, sha = 0, hashlib.sha256()
    while data := await reader.read(1 << 18):
        count += len(data)
        sha.update(data)
    writer.write(f"{count} {sha.hexdigest()}\n".encode())
    await writer.drain()


async def counted_digest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hash as many bytes as the first line says, then answer."""
    count = left = int(await reader.readline())
    sha = hashlib.sha256()
    while left and (data := await reader.read(min(left, 1 << 18))):
        left -= len(data)
        sha.update(data)
    writer.write(f"{count - left} {sha.hexdigest()}\n".encode())
    await writer.drain()


async def long_poll(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An HTTP answer after as many seconds as the path says."""
    request = await reader.readuntil(b"\r\n\r\n")
    await asyncio.sleep(float(request.split()[1].lstrip(b"/")))
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nnews\n")
    await writer.drain()


async def random_bytes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Noise."""
    await reader.read(1)
    writer.write(os.urandom(random.randrange(1, 100_000)))
    await writer.drain()


async def stop_in_the_middle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Half of what was promised, then silence."""
    await reader.read(1)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(MEGABYTE // 2))
    await asyncio.sleep(FOREVER)


async def never_read(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accept, and leave everything in the socket."""
    transport = writer.transport
    assert isinstance(transport, asyncio.ReadTransport)
    transport.pause_reading()
    await asyncio.sleep(FOREVER)


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """RST instead of an answer."""
    await reader.read(1)
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


async def fire_hose(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """50 MB of zeros as fast as the reader takes them."""
    for _ in range(50):
        writer.write(bytes(MEGABYTE))
        await writer.drain()


async def speak_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Greet, then echo."""
    writer.write(b"hello\n")
    await echo(reader, writer)


HANDLERS: tuple[Handler, ...] = (
    echo,
    digest,
    long_poll,
    random_bytes,
    stop_in_the_middle,
    never_read,
    reset,
    fire_hose,
    speak_first,
    counted_digest,
)


def closing(handler: Handler) -> Handler:
    """`handler` with the connection closed after it, whatever happens."""

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await handler(reader, writer)
        writer.close()

    return run


async def main(first_port: int) -> None:
    """Serve until killed; the first port opens last, so that who waits for it waits for all."""
    servers = []
    for offset, handler in reversed(list(enumerate(HANDLERS))):
        servers.append(await asyncio.start_server(closing(handler), None, first_port + offset, backlog=4096))
    await asyncio.sleep(FOREVER)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
