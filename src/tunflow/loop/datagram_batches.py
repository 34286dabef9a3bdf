"""Datagrams in batches on one socket: several of one size in a call of the kernel, each way (`loop.udp_segments`)."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from math import inf
from typing import Any

from tunflow.endpoint import Buffer, SocketAddress
from tunflow.loop.codel import BULK, TARGET, CoDel
from tunflow.loop.device_queue import QUIET
from tunflow.loop.udp_segments import (
    CONTROL,
    GRO_SIZE,
    LARGEST,
    REFUSED,
    UDP_GRO,
    cut_every,
    end_of_run,
    join_arriving,
)

LARGEST_RUN = 65_000
"""Bytes of datagrams that leave in one call: one IP packet of the largest kind, less its headers."""

BUFFER = 4 << 20
"""Bytes of buffers asked of the kernel each way; without privileges it gives what net.core.rmem_max allows."""

SINGLES = 16
"""Datagrams that come one by one, as from a sender that does not join them, for each batch in a turn: a turn for two
would not pay for itself."""

SO_SNDBUFFORCE = 32
SO_RCVBUFFORCE = 33
"""asm-generic/socket.h: beyond the limits, for those with CAP_NET_ADMIN."""

SO_TIMESTAMPNS = 35
"""asm-generic/socket.h: when each datagram arrived, as a timespec (SCM_TIMESTAMPNS)."""
_TIMESPEC = struct.Struct("=qq")
_TIMESPEC_ROOM = socket.CMSG_SPACE(_TIMESPEC.size)
LONGEST_WAIT = 5.0
"""Seconds: more is a clock that was set, and no queue."""


class DatagramBatches:
    """A socket of the caller's, which does not block."""

    def __init__(self, sock: socket.socket, *, sheds: bool = False) -> None:
        """With `sheds` a queue that stands in the socket is kept short: what is in it is sent again by who sent it."""
        self.socket = sock
        self.queue = CoDel() if sheds else None
        """What waits in the socket; None where nothing of it is to be dropped."""
        self._last = -inf
        """When something last came, where that is looked at."""
        self._room = CONTROL
        if sheds:
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
                self._room += _TIMESPEC_ROOM
        self._scratch = memoryview(bytearray(LARGEST))
        self._segments = True
        for forced, option in ((SO_RCVBUFFORCE, socket.SO_RCVBUF), (SO_SNDBUFFORCE, socket.SO_SNDBUF)):
            try:
                sock.setsockopt(socket.SOL_SOCKET, forced, BUFFER)
            except OSError:
                sock.setsockopt(socket.SOL_SOCKET, option, BUFFER)
        join_arriving(sock)

    def send(self, datagrams: Sequence[Buffer], to: SocketAddress | None = None) -> int:
        """Send in order; how many left before the socket was full. Raises OSError for other reasons."""
        start, count = 0, len(datagrams)
        while start < count:
            size = len(datagrams[start])
            end = start + 1
            if self._segments and size < LARGEST_RUN // 2:
                end = end_of_run(datagrams, start, LARGEST_RUN)
            try:
                self._transmit(datagrams[start:end], size if end - start > 1 else 0, to)
            except BlockingIOError:
                return start
            except OSError as error:
                if end - start == 1 or error.errno not in REFUSED:
                    raise
                self._segments = False  # a kernel, or a path, that does not cut
                continue
            start = end
        return count

    def receive(self, most: int, *, told_again: bool = False) -> Iterator[tuple[list[bytes], Any]]:
        """Up to `most` batches that the kernel has joined, or `SINGLES` datagrams for each; with where they came from.

        With `told_again` epoll says when something is left: a datagram that comes alone after a pause is all then, for
        to find nothing behind it costs an exception (`loop.device_queue`).
        """
        scratch, room, queue = self._scratch, self._room, self.queue
        left = most * SINGLES
        while left > 0:
            try:
                size, control, _, source = self.socket.recvmsg_into((scratch,), room)
            except BlockingIOError:
                if queue is not None:
                    queue.surplus(0.0, time.monotonic())  # empty: nothing stands, however long it was before we came
                return
            step = size
            waited = 0.0
            for _, kind, value in control:
                if kind == UDP_GRO:
                    step = GRO_SIZE.unpack(value)[0]
                elif kind == SO_TIMESTAMPNS:
                    waited = _waited(value)
            start = 0
            is_alone = False
            if queue is not None:
                now = time.monotonic()
                is_alone = told_again and step >= size and waited < TARGET and now - self._last > QUIET
                self._last = now
                surplus = queue.surplus(waited, now)
                if surplus and BULK < step < size:
                    start = min(surplus, (size - 1) // step) * step
                elif surplus and size > BULK:
                    start = size
            left -= SINGLES if step < size else 1
            if start == size:
                continue
            whole = scratch[:size].tobytes()
            yield ([whole[at : at + step] for at in range(start, size, step)] if step < size else [whole]), source
            if is_alone:
                return

    def _transmit(self, pieces: Sequence[Buffer], gso_size: int, to: SocketAddress | None) -> None:
        control = cut_every(gso_size) if gso_size else ()
        if to is None:
            self.socket.sendmsg(pieces, control)
        else:
            self.socket.sendmsg(pieces, control, 0, to)


def _waited(timespec: bytes) -> float:
    """Seconds since a datagram arrived; 0 when the clock was set meanwhile."""
    if len(timespec) != _TIMESPEC.size:  # a machine of 32 bits
        return 0.0
    seconds, nanoseconds = _TIMESPEC.unpack(timespec)
    waited = (time.time_ns() - nanoseconds) / 1e9 - seconds
    return waited if 0 < waited < LONGEST_WAIT else 0.0
