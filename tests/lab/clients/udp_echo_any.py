"""`udp_echo_any.py HOST PORT`: echoes datagrams of any size, also of none, until killed."""

from __future__ import annotations

import socket
import sys

host = sys.argv[1]
with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.bind((host, int(sys.argv[2])))
    print("ready", flush=True)
    while True:
        data, peer = sock.recvfrom(65536)
        sock.sendto(data, peer)
