"""`both_ways.py HOST PORT BYTES CONNECTIONS`: on each connection send that many bytes of a known stream and close our
half, and meanwhile read as many until the far side closes its half. Prints a JSON list with one object for each
connection: how many bytes came, their SHA-256, and what went wrong (or null).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import struct
import sys
import threading

from tunflow.testing.stream import PERIOD, Stream

host, port, size, connections = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
TIMEOUT = 30
PATIENCE = 120
"""Seconds for what is still to be sent when all has come. A socket that nobody holds any more Linux gives up as soon as
its time-out has doubled to the most that it may be (`tcp_rto_max_ms`)."""


def send(sock: socket.socket) -> None:
    stream = Stream(1)
    with contextlib.suppress(OSError):  # the reader tells of it
        for start in range(0, size, PERIOD):
            sock.sendall(stream.piece(start, size - start))
        sock.shutdown(socket.SHUT_WR)


def transfer(result: dict[str, object]) -> None:
    digest, received = hashlib.sha256(), 0
    try:
        with socket.create_connection((host, port), timeout=TIMEOUT) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, PATIENCE))
            sender = threading.Thread(target=send, args=(sock,))
            sender.start()
            while data := sock.recv(1 << 16):
                received += len(data)
                digest.update(data)
            sender.join(TIMEOUT)
    except OSError as error:
        result["error"] = repr(error)
    result.update(received=received, sha256=digest.hexdigest())


results: list[dict[str, object]] = [{"error": None} for _ in range(connections)]
threads = [threading.Thread(target=transfer, args=(result,)) for result in results]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps(results))
