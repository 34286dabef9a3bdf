"""`udp.py PORT SIZE HOST...`: one socket per family, one datagram to each host and its echo back from that host."""

from __future__ import annotations

import os
import socket
import sys

port, size = int(sys.argv[1]), int(sys.argv[2])
for host in sys.argv[3:]:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(15)
        data = os.urandom(size)
        sock.sendto(data, (host, port))
        answer, source = sock.recvfrom(65536)
        assert answer == data, len(answer)
        assert source[:2] == (host, port), source
print("ok")
