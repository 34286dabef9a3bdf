"""`uot_server.py VERSION PORT`: the far end of UDP over TCP, behind a proxy that leads its streams here.

Written from sing-box's documentation, "UDP over TCP": what a server of that program does with such a stream.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys

TYPES = {0: 4, 1: 16}


class Back(asyncio.DatagramProtocol):
    """Answers go back as frames."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Of one target."""
        host = socket.inet_pton(socket.AF_INET6, addr[0])
        mapped = host.startswith(bytes(10) + b"\xff\xff")
        kind, host = (b"\0", host[12:]) if mapped else (b"\x01", host)
        self.writer.write(kind + host + struct.pack(">HH", addr[1], len(data)) + data)


async def read_name(reader: asyncio.StreamReader) -> str:
    """A name behind its length."""
    return (await reader.readexactly((await reader.readexactly(1))[0])).decode()


async def read_target(reader: asyncio.StreamReader) -> tuple[str, int]:
    """Host and port in front of a frame."""
    kind = (await reader.readexactly(1))[0]
    if kind == 2:
        host = await read_name(reader)
    else:
        packed = await reader.readexactly(TYPES[kind])
        host = socket.inet_ntop(socket.AF_INET6, packed if kind else bytes(10) + b"\xff\xff" + packed)
    (port,) = struct.unpack(">H", await reader.readexactly(2))
    return host, port


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One stream."""
    if VERSION == 2:
        connected, kind = await reader.readexactly(2)
        assert not connected, "it asks for the format of one target"
        await reader.readexactly({1: 4, 4: 16}[kind] + 2)
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind(("::", 0))
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: Back(writer), sock=sock)
    try:
        while True:
            target = await read_target(reader)
            (size,) = struct.unpack(">H", await reader.readexactly(2))
            transport.sendto(await reader.readexactly(size), target)
    except asyncio.IncompleteReadError:
        transport.close()
        writer.close()


async def main() -> None:
    """Serve for ever."""
    async with await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[2])) as server:
        await server.serve_forever()


VERSION = int(sys.argv[1])
asyncio.run(main())
