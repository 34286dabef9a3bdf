"""`slow_reader.py HOST PORT SECONDS`: connect, wait before the first read, then read to the end; prints the bytes."""

from __future__ import annotations

import socket
import sys
import time

with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=60) as sock:
    time.sleep(float(sys.argv[3]))
    print(sum(map(len, iter(lambda: sock.recv(1 << 16), b""))))
