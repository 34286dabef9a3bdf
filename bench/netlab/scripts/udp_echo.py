"""UDP echo, server and load generator, fast enough not to be what is measured.

`udp_echo.py serve HOST PORT` echoes; `udp_echo.py load HOST PORT SECONDS OUTSTANDING SIZE` keeps that many
datagrams under way and prints echoes per second. Many datagrams move in one `recvmmsg`/`sendmmsg`, called
through ctypes, because one Python call per datagram would be slower than the tunnels. A datagram that is
lost is replaced after 50 ms. Read first: recvmmsg(2), sendmmsg(2).
"""

from __future__ import annotations

import ctypes
import json
import socket
import struct
import sys
import time

BATCH = 64
MSG_DONTWAIT = 0x40
MSG_WAITFORONE = 0x10000
PATIENCE = 0.05
"""Seconds without an echo after which what is under way counts as lost."""

libc = ctypes.CDLL(None, use_errno=True)


class Iovec(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class Msghdr(ctypes.Structure):
    """struct msghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("namelen", ctypes.c_uint32),
        ("iov", ctypes.POINTER(Iovec)),
        ("iovlen", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class Mmsghdr(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = (("header", Msghdr), ("length", ctypes.c_uint32))


class Batch:
    """Room for `BATCH` datagrams of up to `size` bytes, with their peers when `named`."""

    def __init__(self, size: int, *, named: bool) -> None:
        self.size = size
        self.headers = (Mmsghdr * BATCH)()
        self._keep: list[object] = []
        for header in self.headers:
            data = ctypes.create_string_buffer(size)
            vector = Iovec(ctypes.addressof(data), size)
            header.header.iov = ctypes.pointer(vector)
            header.header.iovlen = 1
            if named:
                name = ctypes.create_string_buffer(28)  # sizeof(struct sockaddr_in6)
                header.header.name = ctypes.addressof(name)
                header.header.namelen = 28
                self._keep.append(name)
            self._keep += [data, vector]

    def receive(self, fd: int, flags: int) -> int:
        """Fill from the socket; how many datagrams came, 0 for none."""
        return max(0, int(libc.recvmmsg(fd, self.headers, BATCH, flags, None)))

    def send(self, fd: int, count: int) -> int:
        """Send the first `count`; how many went."""
        return max(0, int(libc.sendmmsg(fd, self.headers, count, 0)))

    def fit(self, count: int) -> None:
        """Make the first `count` as long as they were received."""
        for header in self.headers[:count]:
            header.header.iov[0].length = header.length

    def widen(self, count: int) -> None:
        """Give the first `count` their whole room back."""
        for header in self.headers[:count]:
            header.header.iov[0].length = self.size


def open_socket(host: str) -> socket.socket:
    """A UDP socket of the host's family with room for bursts."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    return sock


def serve(host: str, port: int) -> None:
    """Echo until killed."""
    sock = open_socket(host)
    sock.bind((host, port))
    batch = Batch(2048, named=True)
    print("ready", flush=True)
    while True:
        count = batch.receive(sock.fileno(), MSG_WAITFORONE)
        batch.fit(count)
        batch.send(sock.fileno(), count)
        batch.widen(count)


def load(host: str, port: int, seconds: float, outstanding: int, size: int) -> dict[str, float]:
    """Keep `outstanding` (at most `BATCH`) datagrams of `size` bytes under way for `seconds`."""
    sock = open_socket(host)
    micros = int(PATIENCE * 1e6)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, micros))
    sock.connect((host, port))
    fd = sock.fileno()
    sending, receiving = Batch(size, named=False), Batch(2048, named=False)
    echoes = lost = 0
    start = time.perf_counter()
    sending.send(fd, outstanding)
    while time.perf_counter() - start < seconds:
        count = receiving.receive(fd, MSG_WAITFORONE)
        if count:
            echoes += count
            sending.send(fd, min(count, outstanding))
        else:
            lost += outstanding
            sending.send(fd, outstanding)
    return {"per_second": echoes / (time.perf_counter() - start), "lost": lost}


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2], int(sys.argv[3]))
    print(json.dumps(load(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]), int(sys.argv[6]))))
