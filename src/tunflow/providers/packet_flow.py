"""The packets of a packet tunnel: NEPacketTunnelFlow and NEPacket."""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from tunflow.device import Packet as GatherList
from tunflow.endpoint import Buffer


class Packet(NamedTuple):
    """NEPacket: an IP packet and its address family (AF_INET or AF_INET6 of this system)."""

    data: bytes
    protocol_family: int

    @classmethod
    def of(cls, data: bytes) -> Packet:
        """The packet, its family read from its first byte."""
        return cls(data, socket.AF_INET6 if data[0] >> 4 == 6 else socket.AF_INET)


class PacketTunnelFlow(ABC):
    """NEPacketTunnelFlow. Packets that nobody reads wait in the system's queue and are dropped when it is full."""

    @abstractmethod
    async def read_packets(self) -> list[bytes]:
        """The IP packets that programs sent into the tunnel, oldest first: at least one, each at most the MTU long.

        One reader at a time. Raises EOFError when the tunnel is gone.
        """

    @abstractmethod
    def set_read_handler(self, handler: Callable[[list[bytes]], Awaitable[None] | None]) -> None:
        """Have `handler` called with the packets of `read_packets`, in the event itself, instead of that.

        What it gives back is awaited before the next ones are read, so what cannot leave yet waits in the system's
        queue; there an OSError is passed over, as on any wire. Anything else that it raises is the provider's failure,
        as in a task.
        """

    @abstractmethod
    def write_packets(self, packets: Sequence[Buffer]) -> bool:
        """Give IP packets to the programs. Return True if the system took them all.

        Like a wire, it says nothing about what becomes of them, and never waits.
        """

    async def read_packet_objects(self) -> list[Packet]:
        """`read_packets`, with the address families."""
        return [Packet.of(data) for data in await self.read_packets()]

    def write_packet_objects(self, packets: Sequence[Packet]) -> bool:
        """As `write_packets`, for what `read_packet_objects` gives. Return True if the system took all of them."""
        return self.write_packets([packet.data for packet in packets])

    @abstractmethod
    async def read_super_packets(self) -> list[bytes]:
        """Packets as the system has them, not cut to the MTU and with checksums left out: up to 64 KB each.

        Each starts with its 10-byte virtio-net header (virtio 1.2 §5.1.6), which says what was left out;
        `tunflow.wire.offload.segment` does it. Needs `super_packets = True` in the provider's class.
        """

    @abstractmethod
    def write_super_packets(self, packets: Sequence[GatherList]) -> bool:
        """Give packets to the programs, each a list that starts with a virtio-net header (see `read_super_packets`).

        Return True if the system took all of them.
        """
