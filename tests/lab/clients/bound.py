"""What a program does that will not be led: sockets bound to an interface, to an address, and raw ones.

`bound.py INTERFACE ADDRESS TARGET`: each tries to reach TARGET once; whether it could is not said, a witness knows.
"""

from __future__ import annotations

import socket
import struct
import sys
from contextlib import suppress


def main() -> None:
    """Try every way once."""
    interface, address, target = sys.argv[1:]
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with suppress(OSError), socket.socket(socket.AF_INET, kind) as sock:
            sock.settimeout(0.3)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
            sock.connect((target, 80))
            sock.send(b"bound to a device")
        with suppress(OSError), socket.socket(socket.AF_INET, kind) as sock:
            sock.settimeout(0.3)
            sock.bind((address, 0))
            sock.connect((target, 80))
            sock.send(b"bound to an address")
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        raw.sendto(struct.pack("!HHHH", 4000, 4000, 12, 0) + b"raw!", (target, 0))


main()
