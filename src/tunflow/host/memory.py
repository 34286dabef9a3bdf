"""A pair of packet devices in memory: what one end writes, the other reads.

For tests and for embedding: the same contract as a TUN device, an `eventfd` to wait on, a bounded queue that
refuses what does not fit. The ends may live in two threads.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence

from tunflow.device import VNET_SIZE, Packet
from tunflow.errors import BadPacket
from tunflow.wire.offload import segment

QUEUE_LENGTH = 1000
"""Packets: what a TUN device queues unless told otherwise is 500 (Linux TUN_READQ_SIZE)."""


def memory_pair(mtu: int = 1500, vnet: bool = True) -> tuple[MemoryDevice, MemoryDevice]:
    """Two connected devices; without `vnet` what is written is cut and checksummed on the way."""
    first = MemoryDevice("memory0", mtu, vnet)
    second = MemoryDevice("memory1", mtu, vnet)
    first.connect(second)
    second.connect(first)
    return first, second


class MemoryDevice:
    """One end of a pair; made by `memory_pair`. A pair that nobody has any more is closed."""

    _event = -1

    def __init__(self, name: str, mtu: int, vnet: bool) -> None:
        self.name = name
        self.mtu = mtu
        self.vnet_offset = VNET_SIZE if vnet else 0
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._queue: deque[bytes] = deque()
        self._peer: MemoryDevice | None = None

    def connect(self, peer: MemoryDevice) -> None:
        """Write to `peer` from now on."""
        self._peer = peer

    def fileno(self) -> int:
        """Readable while packets wait or the other end is closed; -1 when closed."""
        return self._event

    def read(self, limit: int) -> list[bytes]:
        """Up to `limit` waiting packets. Raises EOFError when either end is closed and nothing waits."""
        if self._event < 0:
            raise EOFError(f"{self.name} is closed")
        try:
            os.eventfd_read(self._event)  # before the queue: a packet that comes in between sets it again
        except BlockingIOError:
            return []
        queue = self._queue
        packets = [queue.popleft() for _ in range(min(limit, len(queue)))]
        if queue or self._peer is None:
            self._wake()
        if not packets and self._peer is None:
            raise EOFError(f"the other end of {self.name} is closed")
        return packets

    def write(self, packets: Sequence[Packet]) -> int:
        """Put packets into the other end's queue; how many it refused. Raises EOFError when closed."""
        if self._event < 0:
            raise EOFError(f"{self.name} is closed")
        peer = self._peer
        if peer is None:
            return len(packets)
        refused = sum(not peer.accept(packet) for packet in packets)
        peer._wake()
        return refused

    def accept(self, packet: Packet) -> bool:
        """Take a packet from the other end. Return False if the queue is full."""
        try:
            plain = [packet] if self.vnet_offset else segment(packet)
        except BadPacket:
            return False
        if len(self._queue) + len(plain) > QUEUE_LENGTH:
            return False
        self._queue.extend(b"".join(pieces) for pieces in plain)
        return True

    def close(self) -> None:
        """Close this end; the other reads what waits and then EOFError."""
        if self._event < 0:
            return
        os.close(self._event)
        self._event = -1
        peer, self._peer = self._peer, None
        if peer is not None:
            peer._peer = None
            peer._wake()

    def __del__(self) -> None:
        self.close()

    def _wake(self) -> None:
        if self._event >= 0:
            os.eventfd_write(self._event, 1)
