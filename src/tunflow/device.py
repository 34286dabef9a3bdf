"""What the driver asks of a packet device, and nothing more.

A device moves whole IP packets. With offload (`vnet_offset` 10) what it reads carries a virtio-net header and may
be a super-segment of up to 64 KB, to be cut by whoever needs it smaller; without (`vnet_offset` 0) it is a plain
packet whose checksums the reader must verify. What is written is always a gather list that starts with a virtio-net
header: a device that cannot pass that on cuts and checksums the packet itself (`wire.offload`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tunflow.endpoint import Buffer

Packet = Sequence[Buffer]
"""A packet to write: a 10-byte virtio-net header, then IP and transport headers, then payload pieces."""

VNET_SIZE = 10
"""Bytes of `struct virtio_net_hdr` (Linux include/uapi/linux/virtio_net.h) in front of a packet."""


class Device(Protocol):
    """A packet device: a TUN, an inherited file descriptor, an in-memory end, or a tee around one of them."""

    @property
    def name(self) -> str:
        """The interface's name, for people."""

    @property
    def mtu(self) -> int:
        """The largest plain IP packet in bytes."""

    @property
    def vnet_offset(self) -> int:
        """Where the IP header starts in what `read` returns: 10 behind a virtio-net header, or 0."""

    def fileno(self) -> int:
        """What epoll waits on; readable while packets wait."""

    def read(self, limit: int) -> list[bytes]:
        """Up to `limit` waiting packets, oldest first; empty when none waits. Raises EOFError when gone."""

    def write(self, packets: Sequence[Packet]) -> int:
        """Hand over packets in order; how many the device refused (a full queue or a device that is down)."""

    def close(self) -> None:
        """Give the device back; reading or writing afterwards raises EOFError."""
