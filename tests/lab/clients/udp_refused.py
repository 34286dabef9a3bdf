"""`udp_refused.py HOST PORT`: a datagram to a port that nobody has; prints what the socket is told within 3 s."""

from __future__ import annotations

import errno
import socket
import sys

with socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.settimeout(3)
    sock.connect((sys.argv[1], int(sys.argv[2])))
    sock.send(b"anybody there?")
    try:
        print(f"answer of {len(sock.recv(2048))} bytes")
    except TimeoutError:
        print("timeout")
    except OSError as error:
        print(errno.errorcode[error.errno or 0])
