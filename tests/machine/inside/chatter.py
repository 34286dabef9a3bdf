"""Runs inside of the emulated machine from early boot on: sends datagrams to where nobody asked it to."""

import socket
import time

AWAY = ("198.51.100.99", 9), ("2001:db8:100::99", 9)


def main() -> None:
    """Send until the machine ends; no network yet is no reason to stop."""
    sockets = [socket.socket(family, socket.SOCK_DGRAM) for family in (socket.AF_INET, socket.AF_INET6)]
    while True:
        for sock, address in zip(sockets, AWAY, strict=True):
            try:
                sock.sendto(b"chatter", address)
            except OSError:
                continue
        time.sleep(0.1)


if __name__ == "__main__":
    main()
