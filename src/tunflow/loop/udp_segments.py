"""Datagrams of one size in one call of the kernel: cut on the way out (UDP_SEGMENT), joined on the way in (UDP_GRO).

A call costs far more than the bytes of a datagram. Read first: udp(7); Linux Documentation/networking/
segmentation-offloads.rst.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress

from tunflow.endpoint import Buffer
from tunflow.stack.udp import MAX_BATCH

LARGEST = 65536
"""Bytes: no datagram is larger, and no run of them that the kernel joined."""

UDP_SEGMENT = 103
UDP_GRO = 104
"""linux/udp.h."""

GRO_SIZE = struct.Struct("=i")
"""What UDP_GRO says of a run that was received: the size of its datagrams."""

CONTROL = socket.CMSG_SPACE(GRO_SIZE.size)
"""Bytes of room for that in `recvmsg`."""

REFUSED = {errno.EINVAL, errno.EMSGSIZE, errno.EIO, errno.EOPNOTSUPP, errno.ENOPROTOOPT}
"""How kernels refuse a run: an MTU that is too small, a path without checksum offload, a kernel before 4.18."""

_SEGMENT_SIZE = struct.Struct("=H")


def join_arriving(sock: socket.socket) -> None:
    """Have the kernel join what arrives; Linux before 5.0 leaves the datagrams alone."""
    with suppress(OSError):
        sock.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)


def cut_every(size: int) -> tuple[tuple[int, int, bytes], ...]:
    """What tells `sendmsg` to cut its bytes every `size`."""
    return ((socket.IPPROTO_UDP, UDP_SEGMENT, _SEGMENT_SIZE.pack(size)),)


def end_of_run(datagrams: Sequence[Buffer], start: int, largest: int) -> int:
    """Return the end of the run from `start` that fits into one call: all of one size, but for a shorter last one.

    Together they have `largest` bytes at most.
    """
    size = len(datagrams[start])
    end = start + 1
    if size:
        last = min(len(datagrams), start + min(MAX_BATCH, largest // size))
        while end < last and len(datagrams[end]) == size:
            end += 1
        if end < last and 0 < len(datagrams[end]) < size:
            end += 1
    return end
