"""`mitmproxy_tun.py DEVICE INTERFACE`: mitmproxy_rs's TUN, each flow relayed straight out by asyncio, until killed."""

from __future__ import annotations

import asyncio
import socket
import sys
from types import ModuleType
from typing import Any

sys.modules.setdefault("mitmproxy_linux", ModuleType("mitmproxy_linux"))  # its redirector for Linux, not used here

import mitmproxy_rs  # noqa: E402

CHUNK = 1 << 16
INTERFACE = sys.argv[2].encode()


def outgoing(kind: int) -> socket.socket:
    """A socket that goes around the device."""
    sock = socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, INTERFACE)
    return sock


def target(stream: Any) -> tuple[str, int]:
    """Where the client wants to go."""
    host, port = stream.get_extra_info("sockname")
    return host, port


async def relay_tcp(stream: Any) -> None:
    """Both ways until both are done."""
    sock = outgoing(socket.SOCK_STREAM)
    await asyncio.get_running_loop().sock_connect(sock, target(stream))
    reader, writer = await asyncio.open_connection(sock=sock)

    async def up() -> None:
        while data := await stream.read(CHUNK):
            writer.write(data)
            await writer.drain()
        writer.write_eof()

    async def down() -> None:
        while data := await reader.read(CHUNK):
            stream.write(data)
            await stream.drain()
        stream.write_eof()

    try:
        await asyncio.gather(up(), down())
    except OSError:
        pass
    finally:
        writer.close()
        stream.close()


async def relay_udp(stream: Any) -> None:
    """Datagrams both ways for as long as the client is there."""
    loop = asyncio.get_running_loop()
    with outgoing(socket.SOCK_DGRAM) as sock:
        await loop.sock_connect(sock, target(stream))

        async def down() -> None:
            while True:
                stream.write(await loop.sock_recv(sock, CHUNK))
                await stream.drain()

        answers = asyncio.create_task(down())
        while data := await stream.read(CHUNK):
            await loop.sock_sendall(sock, data)
        answers.cancel()


async def main() -> None:
    """Serve."""
    device = await mitmproxy_rs.tun.create_tun_interface(relay_tcp, relay_udp, sys.argv[1])
    await device.wait_closed()


if __name__ == "__main__":
    asyncio.run(main())
