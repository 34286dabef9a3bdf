"""`mixed.py ROUND HOST...`: one round of what all sorts of clients do to `services.py` and `udp_echo.py`.

Well-behaved ones (echoes, counted digests, datagrams), each checked; and the others: reset in the middle of a
transfer, leave without reading, speak to who resets or never reads, send datagrams to nobody. Prints one JSON line
{"done": n, "failed": [...]} and fails if a well-behaved one did not get what it came for. ROUND seeds the sizes and
picks the UDP source port, of which there are few, so that mappings are used again.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
import socket
import struct
import sys
from collections.abc import Awaitable, Callable

ECHO, HALF_ANSWER, NEVER_READS, RESETS, FIRE_HOSE, COUNTED_DIGEST = 9000, 9004, 9005, 9006, 9007, 9009
UDP_ECHO, UDP_NOBODY = 7007, 7999
UDP_SOURCES = (30000, 30001)
PATIENCE = 20.0
RESET_ON_CLOSE = struct.pack("ii", 1, 0)

Client = Callable[[str, random.Random], Awaitable[None]]


async def echo(host: str, rng: random.Random) -> None:
    """A few messages and their echoes."""
    reader, writer = await asyncio.open_connection(host, ECHO)
    for _ in range(rng.randint(1, 5)):
        message = rng.randbytes(rng.choice((1, 100, 5_000, 100_000)))
        writer.write(message)
        if await reader.readexactly(len(message)) != message:
            raise ValueError("the echo is wrong")
    writer.close()
    await writer.wait_closed()


async def digest(host: str, rng: random.Random) -> None:
    """An upload whose hash comes back."""
    reader, writer = await asyncio.open_connection(host, COUNTED_DIGEST)
    body = rng.randbytes(rng.randint(1, 1_000_000))
    writer.write(b"%d\n" % len(body) + body)
    answer = await reader.readline()
    if answer.split() != [b"%d" % len(body), hashlib.sha256(body).hexdigest().encode()]:
        raise ValueError("the digest is wrong")
    writer.close()
    await writer.wait_closed()


async def abort_download(host: str, rng: random.Random) -> None:
    """Reset in the middle of a transfer."""
    reader, writer = await asyncio.open_connection(host, FIRE_HOSE)
    writer.write(b"x")
    await reader.readexactly(rng.randint(1, 300_000))
    _reset(writer)


async def leave(host: str, rng: random.Random) -> None:
    """Close with half an answer unread."""
    reader, writer = await asyncio.open_connection(host, HALF_ANSWER)
    writer.write(b"x")
    await reader.readexactly(rng.randint(1, 1000))
    writer.close()


async def abort_upload(host: str, rng: random.Random) -> None:
    """Fill the buffers on the way to who never reads, then reset."""
    _, writer = await asyncio.open_connection(host, NEVER_READS)
    writer.write(bytes(rng.randint(1, 2_000_000)))
    await asyncio.sleep(0.2)
    _reset(writer)


async def be_reset(host: str, _rng: random.Random) -> None:
    """Speak to who answers with a reset."""
    reader, writer = await asyncio.open_connection(host, RESETS)
    writer.write(b"x")
    with contextlib.suppress(ConnectionResetError):
        await reader.read()
    writer.close()


def datagrams(host: str, number: int, rng: random.Random) -> None:
    """Datagrams of all sizes, echoed one by one, and some to a port where nobody is."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind(("", UDP_SOURCES[number % len(UDP_SOURCES)]))
        sock.settimeout(PATIENCE)
        for _ in range(50):
            message = rng.randbytes(rng.choice((1, 64, 1200)))
            sock.sendto(message, (host, UDP_ECHO))
            if sock.recvfrom(2048)[0] != message:
                raise ValueError("the datagram's echo is wrong")
        for _ in range(3):
            sock.sendto(b"anybody?", (host, UDP_NOBODY))


def _reset(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    writer.transport.abort()


CLIENTS: tuple[tuple[Client, int], ...] = (
    (echo, 20), (digest, 4), (abort_download, 6), (leave, 4), (abort_upload, 2), (be_reset, 4),
)  # fmt: skip


async def main(number: int, hosts: list[str]) -> int:
    """The round; the exit status."""
    rng = random.Random(number)
    plan = [(client, rng.choice(hosts)) for client, count in CLIENTS for _ in range(count)]
    rng.shuffle(plan)
    failed = []

    async def one(client: Client, host: str) -> None:
        await asyncio.sleep(rng.random())
        try:
            async with asyncio.timeout(PATIENCE):
                await client(host, random.Random(rng.random()))
        except Exception as error:
            failed.append(f"{client.__name__} {host}: {error!r}")

    await asyncio.gather(*(one(client, host) for client, host in plan))
    for host in hosts:
        try:
            datagrams(host, number, rng)
        except (OSError, ValueError) as error:
            failed.append(f"datagrams {host}: {error!r}")
    print(json.dumps({"done": len(plan) + len(hosts) - len(failed), "failed": failed}), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]), sys.argv[2:])))
