"""`udp_sizes.py HOST PORT SIZE...`: one datagram of each size and its echo; prints how many bytes came back in all."""

from __future__ import annotations

import os
import socket
import sys

host, port = sys.argv[1], int(sys.argv[2])
total = 0
with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.settimeout(15)
    sock.connect((host, port))
    for size in map(int, sys.argv[3:]):
        data = os.urandom(size)
        sock.send(data)
        assert sock.recv(65536) == data, size
        total += size
print(total)
