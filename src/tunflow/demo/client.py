"""The demo's client: a program of its own that speaks plain sockets and HTTP and knows nothing of proxies.

It is run as a file, imports the standard library alone, and takes its plan (see `DemoPlan`) as JSON in its argument. It
prints one JSON object a line: `{"at": step, "done": 0..1}` while it works and `{"step": step, …}` with the outcome.
After the last it waits for its standard input to end, so that whoever started it can look at the processes around it.
A step that does not come out right is `{"failed": …}` and exit status 1.

Rules: every byte counts. What is downloaded and uploaded is compared with what it has to be, in the timed transfers
too (block by block), because a fast transfer of wrong bytes is worth nothing.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, TypedDict

BLOCK = hashlib.shake_128(b"tunflow demo").digest(1 << 20)
"""What timed transfers repeat; a comparison of a block costs a tenth of a checksum."""

FIRST_BLOCKS = 8
MOST_BLOCKS = 256
TRANSFER_SECONDS = 0.4
"""A timed transfer is made of requests that are to take about as long as this."""

NEW_CONNECTIONS = 60
REQUESTS = 200

TIMEOUT = 15.0

ECHO_SECONDS = 2.0


class DemoPlan(TypedDict):
    """What to do: where to ask (`[label, host, port]`), where to measure, and for how many seconds each direction."""

    pages: list[tuple[str, str, int]]
    echoes: list[tuple[str, str, int]]
    measured: tuple[str, int]
    seconds: float


def main(plan: DemoPlan) -> None:
    """Do all steps."""
    host, port = plan["measured"]
    steps: list[tuple[str, Callable[[], dict[str, Any]]]] = [
        ("pages", lambda: {"pages": [page(*where) for where in plan["pages"]]}),
        ("echoes", lambda: {"echoes": [echo(*where) for where in plan["echoes"]]}),
        ("checksums", lambda: checksums(host, port)),
        ("latency", lambda: latency(host, port)),
        ("download", lambda: timed("download", plan["seconds"], host, port, download)),
        ("upload", lambda: timed("upload", plan["seconds"], host, port, upload)),
    ]
    for name, step in steps:
        say(at=name, done=0.0)
        try:
            say(step=name, **step())
        except (OSError, http.client.HTTPException, ValueError, subprocess.SubprocessError) as error:
            say(failed=f"{name}: {str(error) or type(error).__name__}")
            raise SystemExit(1) from error
    sys.stdin.read()


def say(**facts: Any) -> None:
    """One line for whoever started us."""
    print(json.dumps(facts), flush=True)  # noqa: T201  (this is the program's output)


def connect(host: str, port: int) -> http.client.HTTPConnection:
    """An HTTP connection."""
    return http.client.HTTPConnection(host, port, timeout=TIMEOUT)


def ask(connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None) -> bytes:
    """The body of the answer. Raises ValueError unless it is a success."""
    connection.request(method, path, body)
    answer = connection.getresponse()
    if answer.status != 200:
        raise ValueError(f"{method} {path} was answered with status {answer.status}")
    return answer.read()


def page(label: str, host: str, port: int) -> dict[str, Any]:
    """Ask for a page, with curl as well where there is one; what the site says that it saw."""
    connection = connect(host, port)
    connection.request("GET", "/hello", headers={"User-Agent": "tunflow-demo"})
    saw = json.loads(connection.getresponse().read())
    connection.close()
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}/hello" if port == 80 else f"http://{shown}:{port}/hello"
    outcome = {"label": label, "url": url, "saw": saw, "curl": False}
    if shutil.which("curl"):
        command = ["curl", "--disable", "--silent", "--show-error", "--noproxy", "*", "--max-time", str(TIMEOUT), url]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            raise ValueError(done.stderr.decode(errors="replace").strip() or f"curl ended with {done.returncode}")
        outcome["curl"] = json.loads(done.stdout)["path"] == saw["path"]
    return outcome


def echo(label: str, host: str, port: int) -> dict[str, Any]:
    """Send datagrams of several sizes and have each come back; three tries, as datagrams may be lost."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as udp:
        udp.connect((host, port))
        udp.settimeout(ECHO_SECONDS)
        for size in (1, 512, 1200):
            sent = os.urandom(size)
            for attempt in range(3):
                udp.send(sent)
                try:
                    if udp.recv(2048) == sent:
                        break
                except TimeoutError:
                    if attempt == 2:
                        raise TimeoutError(f"no answer over UDP from {host} port {port}") from None
            else:
                raise ValueError(f"{host} port {port} answered other bytes than were sent over UDP")
    return {"label": label, "sizes": [1, 512, 1200]}


def checksums(host: str, port: int) -> dict[str, Any]:
    """Random bytes down and up, each compared by SHA-256."""
    connection = connect(host, port)
    connection.request("GET", "/random")
    answer = connection.getresponse()
    wanted = answer.headers["X-SHA256"]
    down = answer.read()
    if hashlib.sha256(down).hexdigest() != wanted:
        raise ValueError(f"the {len(down)} bytes that came down are not what the site sent")
    up = os.urandom(len(down))
    got = json.loads(ask(connection, "POST", "/sink", up))
    if got != {"bytes": len(up), "sha256": hashlib.sha256(up).hexdigest()}:
        raise ValueError(f"the {len(up)} bytes that went up are not what the site received")
    return {"bytes_down": len(down), "bytes_up": len(up)}


def latency(host: str, port: int) -> dict[str, Any]:
    """Median seconds from the start of a connection, and of a request on an open one, to the whole answer."""
    fresh = []
    for number in range(NEW_CONNECTIONS):
        start = time.perf_counter()
        connection = connect(host, port)
        ask(connection, "GET", "/hello")
        fresh.append(time.perf_counter() - start)
        connection.close()
        if number % 10 == 0:
            say(at="latency", done=number / NEW_CONNECTIONS / 2)
    connection = connect(host, port)
    kept = []
    for _ in range(REQUESTS):
        start = time.perf_counter()
        ask(connection, "GET", "/hello")
        kept.append(time.perf_counter() - start)
    return {"new_connection": statistics.median(fresh), "open_connection": statistics.median(kept)}


Transfer = Callable[[http.client.HTTPConnection, int], None]


def timed(step: str, seconds: float, host: str, port: int, transfer: Transfer) -> dict[str, Any]:
    """Transfer on one connection for about `seconds`; bytes and seconds."""
    connection = connect(host, port)
    connection.connect()
    blocks, moved, spent = FIRST_BLOCKS, 0, 0.0
    while spent < seconds:
        start = time.perf_counter()
        transfer(connection, blocks)
        spent += time.perf_counter() - start
        moved += blocks * len(BLOCK)
        say(at=step, done=min(1.0, spent / seconds))
        rate = moved / spent / len(BLOCK)
        blocks = max(1, min(MOST_BLOCKS, int(rate * min(TRANSFER_SECONDS, seconds - spent)) + 1))
    return {"bytes": moved, "seconds": spent}


def download(connection: http.client.HTTPConnection, blocks: int) -> None:
    """Fetch `blocks` blocks and compare each. Raises ValueError when one is wrong."""
    connection.request("GET", f"/blocks/{blocks}")
    answer = connection.getresponse()
    buffer = bytearray(len(BLOCK))
    view = memoryview(buffer)
    for _ in range(blocks):
        filled = 0
        while filled < len(BLOCK):
            count = answer.readinto(view[filled:])
            if count == 0:
                raise ValueError("the download ended early")
            filled += count
        if buffer != BLOCK:
            raise ValueError("a downloaded block is not what the site sent")
    answer.read()


def upload(connection: http.client.HTTPConnection, blocks: int) -> None:
    """Send `blocks` blocks; the site compares each and counts. Raises ValueError when it is not content."""
    connection.putrequest("POST", "/blocks")
    connection.putheader("Content-Length", str(blocks * len(BLOCK)))
    connection.endheaders()
    for _ in range(blocks):
        connection.send(BLOCK)
    got = json.loads(connection.getresponse().read())
    if got != {"bytes": blocks * len(BLOCK), "right": True}:
        raise ValueError("the uploaded blocks are not what the site received")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
