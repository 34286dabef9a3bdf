"""`latency.py HOST COUNT`: COUNT times a new connection and one small page; prints the median in milliseconds."""

from __future__ import annotations

import socket
import statistics
import sys
import time

REQUEST = b"GET /1k HTTP/1.0\r\n\r\n"

times = []
for _ in range(int(sys.argv[2])):
    start = time.perf_counter()
    with socket.create_connection((sys.argv[1], 80), timeout=30) as sock:
        sock.sendall(REQUEST)
        size = sum(map(len, iter(lambda: sock.recv(1 << 16), b"")))
    times.append(time.perf_counter() - start)
    assert size > 1024, size
    time.sleep(0.01)
print(statistics.median(times) * 1e3)
