"""`udp_refused.py HOST PORT [heed] [briefly]`: a datagram that nobody takes; prints what the socket is told.

It waits for half a minute, or `briefly`, for those who ask a witness what became of the datagram.

Linux tells a socket of "port unreachable" and the like; of what may pass (host unreachable), only one that heeds it.
"""

from __future__ import annotations

import errno
import socket
import sys

with socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.settimeout(3 if "briefly" in sys.argv else 30)
    if "heed" in sys.argv:  # IP_RECVERR, IPV6_RECVERR of linux/in.h and linux/in6.h
        sock.setsockopt(*((socket.IPPROTO_IPV6, 25) if ":" in sys.argv[1] else (socket.IPPROTO_IP, 11)), 1)
    sock.connect((sys.argv[1], int(sys.argv[2])))
    sock.send(b"anybody there?")
    try:
        print(f"answer of {len(sock.recv(2048))} bytes")
    except TimeoutError:
        print("timeout")
    except OSError as error:
        print(errno.errorcode[error.errno or 0])
