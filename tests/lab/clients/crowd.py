"""`crowd.py HOST FIRE_HOSE NEVER_READS COUNT`: COUNT clients that do not read what they asked for, and COUNT that
send to who does not read, until nothing moves any more.

Prints {"sent": bytes} then, and waits for its standard input to end. Then the readers read, and it prints how many of
them got a megabyte: {"served": n}.
"""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
import time

SMALL = 1 << 16
MEGABYTE = 1_000_000


def connect(host: str, port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    sock.settimeout(60)
    sock.connect((host, port))
    return sock


def fill(senders: list[socket.socket]) -> int:
    """Write until no socket has taken anything for a second."""
    chunk, sent, moved = bytes(SMALL), 0, time.monotonic()
    while time.monotonic() - moved < 1:
        for sock in select.select([], senders, [], 0.2)[1]:
            taken = sock.send(chunk)
            sent += taken
            moved = time.monotonic()
    return sent


def read_a_megabyte(sock: socket.socket) -> bool:
    sock.settimeout(30)
    left = MEGABYTE
    try:
        while left > 0 and (data := sock.recv(SMALL)):
            left -= len(data)
    except TimeoutError:
        host, port = sock.getsockname()
        print(f"{host}:{port} has yet to get {left} bytes; the kernel's view:", file=sys.stderr, flush=True)
        subprocess.run(["ss", "-tnmoi", "sport", "=", f":{port}"], stdout=sys.stderr, check=False)
        raise
    return left <= 0


host, fire_hose, never_reads, count = sys.argv[1], *map(int, sys.argv[2:5])
readers = [connect(host, fire_hose) for _ in range(count)]
senders = [connect(host, never_reads) for _ in range(count)]
for sender in senders:
    sender.setblocking(False)
print(json.dumps({"sent": fill(senders)}), flush=True)
sys.stdin.read()
print(json.dumps({"served": sum(map(read_a_megabyte, readers))}), flush=True)
