"""`udp_bulk.py HOST PORT SIZE COUNT`: COUNT datagrams, 16 at a time in one UDP_SEGMENT call as QUIC sends them.

Prints how many distinct ones came back; each carries its number.
"""

from __future__ import annotations

import socket
import struct
import sys

UDP_SEGMENT = 103
host, port, size, count = sys.argv[1], *map(int, sys.argv[2:])
seen: set[bytes] = set()
with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    sock.settimeout(30)
    sock.connect((host, port))
    for first in range(0, count, 16):
        burst = [number.to_bytes(4, "big") + bytes(size - 4) for number in range(first, min(first + 16, count))]
        sock.sendmsg([b"".join(burst)], [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("=H", size))])
        for _ in burst:
            try:
                data = sock.recv(65536)
            except TimeoutError:
                break
            assert len(data) == size, len(data)
            seen.add(data[:4])
print(len(seen))
