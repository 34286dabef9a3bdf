"""One UDP socket that asks an echo service and says "answered", and again for every line on stdin."""

from __future__ import annotations

import socket
import sys


def main() -> None:
    """Ask until stdin ends."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(1)
        while True:
            print("answered" if ask(sock) else "silence", flush=True)
            if not sys.stdin.readline():
                return


def ask(sock: socket.socket) -> bool:
    """Whether one of twenty datagrams comes back."""
    for _ in range(20):
        sock.sendto(b"hello", (sys.argv[1], int(sys.argv[2])))
        try:
            return sock.recv(100) == b"hello"
        except TimeoutError:
            continue
    return False


main()
