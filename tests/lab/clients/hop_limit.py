"""`hop_limit.py HOST PORT HOPS`: a TCP connection whose packets may go that many hops; prints what becomes of it."""

from __future__ import annotations

import errno
import socket
import sys

host, port, hops = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
is_ipv6 = ":" in host
with socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET, socket.SOCK_STREAM) as sock:
    sock.settimeout(30)
    level, option = (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS) if is_ipv6 else (socket.IPPROTO_IP, socket.IP_TTL)
    sock.setsockopt(level, option, hops)
    try:
        sock.connect((host, port))
        print("connected")
    except TimeoutError:
        print("timeout")
    except OSError as error:
        print(errno.errorcode[error.errno or 0])
