"""`hold.py HOST PORT COUNT`: open COUNT TCP connections at once, say how it went, hold them until standard
input ends.

Prints one JSON line {"open": n, "failed": {"reason": n}} once every attempt has ended one way or the other;
then, for every line on standard input and when it ends, checks that the open ones still echo and prints {"echoed": n}.
"""

from __future__ import annotations

import asyncio
import collections
import errno
import json
import resource
import sys

ATTEMPT_SECONDS = 30
AT_ONCE = 64
"""Echoes under way; and of more connections than `CROWD` that many are opened at a time."""
CROWD = 3000
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def attempt(host: str, port: int) -> Stream | str:
    """One connection that has echoed a byte, or why not."""
    try:
        async with asyncio.timeout(ATTEMPT_SECONDS):
            stream = await asyncio.open_connection(host, port)
            return stream if await echoes(stream) else "closed"
    except TimeoutError:
        return "timeout"
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))


async def echoes(stream: Stream) -> bool:
    """Return True if a byte comes back."""
    reader, writer = stream
    writer.write(b"x")
    try:
        async with asyncio.timeout(ATTEMPT_SECONDS):
            return await reader.read(1) == b"x"
    except OSError:
        return False


async def echo_all(streams: list[Stream]) -> int:
    """How many of them bring a byte back, a few at a time."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(stream: Stream) -> bool:
        async with turns:
            return await echoes(stream)

    return sum(await asyncio.gather(*map(one, streams)))


async def main(host: str, port: int, count: int) -> None:
    """Open, report, wait, check."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    turns = asyncio.Semaphore(count if count <= CROWD else AT_ONCE)

    async def opened() -> Stream | str:
        async with turns:
            return await attempt(host, port)

    results = await asyncio.gather(*(opened() for _ in range(count)))
    streams = [result for result in results if not isinstance(result, str)]
    failed = collections.Counter(result for result in results if isinstance(result, str))
    print(json.dumps({"open": len(streams), "failed": failed}), flush=True)
    going = True
    while going:
        going = bool(await asyncio.to_thread(sys.stdin.readline))
        print(json.dumps({"echoed": await echo_all(streams)}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
