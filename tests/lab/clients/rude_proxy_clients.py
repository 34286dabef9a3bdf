"""`rude_proxy_clients.py PORT`: what no proxy client should say; "ok" once each was answered 400 or hung up on."""

from __future__ import annotations

import socket
import struct
import sys

TARGETS = (
    "http://[]/",
    "http://[1.2.3.4]/",
    "http://u@]example.com/",
    "http://[::1]x/",
    "http://a[b/",
    "http://a:99999/",
)
AT_ONCE = 60


def main(port: int) -> None:
    for target in TARGETS:
        with socket.create_connection(("127.0.0.1", port), 10) as client:
            client.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert client.recv(12) == b"HTTP/1.1 400", target
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(b"CONNECT example.com HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(12) == b"HTTP/1.1 400"
    associating = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(AT_ONCE)]
    for client in associating:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(b"\x05\x01\x00\x05\x03\x00\x01" + bytes(6))
    for client in associating:
        client.close()
    print("ok")


if __name__ == "__main__":
    main(int(sys.argv[1]))
