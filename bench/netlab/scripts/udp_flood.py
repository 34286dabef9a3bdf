"""`udp_flood.py ELSEWHERE HERE SECONDS`: as many datagrams of 1,472 bytes as the way takes, and how many come back.

The kernel cuts them out of large ones (UDP_SEGMENT) and puts those that came together again (UDP_GRO), so that the
sender is not what is measured. Read first: udp(7).
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time

PORT = 7000
SIZE = 1472
UDP_SEGMENT, UDP_GRO = 103, 104
SO_RCVBUFFORCE = 33
ROUND = 40 * SIZE


def main(elsewhere: str, here: str, seconds: float) -> None:
    """Send from a child, count here."""
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
    receiver.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
    receiver.bind((here, PORT))
    receiver.settimeout(0.5)
    if os.fork() == 0:
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, SIZE)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            sender.sendto(bytes(ROUND), (elsewhere, PORT))
        os._exit(0)
    received = 0
    first = last = time.monotonic()
    try:
        while True:
            size = len(receiver.recv(65536))
            last = time.monotonic()
            received += size // SIZE
            if received == size // SIZE:
                first = last
    except TimeoutError:
        pass
    os.wait()
    print(json.dumps({"per_second": received / max(0.001, last - first)}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
