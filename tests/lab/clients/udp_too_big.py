"""`udp_too_big.py HOST PORT SIZE`: datagrams that must not be fragmented; prints the path's MTU as it is learned."""

from __future__ import annotations

import socket
import sys
import time

host, port, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
MTU_DISCOVER, MTU, DO = (10, 14, 2) if ":" not in host else (23, 24, 2)  # linux/in.h, linux/in6.h
is_ipv6 = ":" in host
level = socket.IPPROTO_IPV6 if is_ipv6 else socket.IPPROTO_IP
with socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.setsockopt(level, MTU_DISCOVER, DO)
    sock.connect((host, port))
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        try:
            sock.send(bytes(size))
        except OSError:
            break  # EMSGSIZE: it is known
        time.sleep(0.05)
    print(sock.getsockopt(level, MTU))
