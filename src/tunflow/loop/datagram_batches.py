"""Datagrams in batches on one socket: several of one size in a call of the kernel, each way (UDP_SEGMENT, UDP_GRO).

A call costs far more than the bytes of a datagram. Read first: udp(7); Linux Documentation/networking/
segmentation-offloads.rst.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from tunflow.endpoint import Buffer, SocketAddress
from tunflow.stack.udp import MAX_BATCH

LARGEST = 65536
"""Bytes: no datagram is larger, and no run of them that the kernel joined."""

UDP_SEGMENT = 103
UDP_GRO = 104
"""linux/udp.h."""

LARGEST_RUN = 65_000
"""Bytes of datagrams that leave in one call: one IP packet of the largest kind, less its headers."""

BUFFER = 4 << 20
"""Bytes of buffers asked of the kernel each way; without privileges it gives what net.core.rmem_max allows."""

SO_SNDBUFFORCE = 32
SO_RCVBUFFORCE = 33
"""asm-generic/socket.h: beyond the limits, for those with CAP_NET_ADMIN."""

_SEGMENT_SIZE = struct.Struct("=H")
_GRO_SIZE = struct.Struct("=i")
_CONTROL = socket.CMSG_SPACE(_GRO_SIZE.size)
_NO_SEGMENTS = {errno.EINVAL, errno.EIO, errno.EOPNOTSUPP, errno.ENOPROTOOPT}


class DatagramBatches:
    """A socket of the caller's, which does not block."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._scratch = memoryview(bytearray(LARGEST))
        self._segments = True
        for forced, option in ((SO_RCVBUFFORCE, socket.SO_RCVBUF), (SO_SNDBUFFORCE, socket.SO_SNDBUF)):
            try:
                sock.setsockopt(socket.SOL_SOCKET, forced, BUFFER)
            except OSError:
                sock.setsockopt(socket.SOL_SOCKET, option, BUFFER)
        with suppress(OSError):  # Linux before 5.0: they come one by one
            sock.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)

    def send(self, datagrams: Sequence[Buffer], to: SocketAddress | None = None) -> int:
        """Send in order; how many left before the socket was full. Raises OSError for other reasons."""
        start, count = 0, len(datagrams)
        while start < count:
            size = len(datagrams[start])
            end = start + 1
            if self._segments and 0 < size < LARGEST_RUN // 2:
                last = min(count, start + min(MAX_BATCH, LARGEST_RUN // size))
                while end < last and len(datagrams[end]) == size:
                    end += 1
                if end < last and 0 < len(datagrams[end]) < size:
                    end += 1  # the last of a run may be shorter
            try:
                self._transmit(datagrams[start:end], size if end - start > 1 else 0, to)
            except BlockingIOError:
                return start
            except OSError as error:
                if end - start == 1 or error.errno not in _NO_SEGMENTS | {errno.EMSGSIZE}:
                    raise
                self._segments = False  # a kernel, or a path, that does not cut
                continue
            start = end
        return count

    def receive(self, most: int) -> Iterator[tuple[list[bytes], Any]]:
        """Up to `most` datagrams, or as many batches of them, each batch with where it came from."""
        scratch = self._scratch
        for _ in range(most):
            try:
                size, control, _, source = self._sock.recvmsg_into((scratch,), _CONTROL)
            except BlockingIOError:
                return
            whole = scratch[:size].tobytes()
            step = _GRO_SIZE.unpack(control[0][2])[0] if control else size
            yield ([whole[start : start + step] for start in range(0, size, step)] if step < size else [whole]), source

    def _transmit(self, pieces: Sequence[Buffer], gso_size: int, to: SocketAddress | None) -> None:
        control = ((socket.IPPROTO_UDP, UDP_SEGMENT, _SEGMENT_SIZE.pack(gso_size)),) if gso_size else ()
        if to is None:
            self._sock.sendmsg(pieces, control)
        else:
            self._sock.sendmsg(pieces, control, 0, to)
