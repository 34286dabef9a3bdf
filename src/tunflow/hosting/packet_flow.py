"""The packets of a packet tunnel (`providers.packet_flow`), on a device.

The device is edge-triggered: nothing is read before the provider asks, so what it does not take waits in the device's
queue and is dropped there. Packets of connections "through the tunnel" (`hosting.through_tunnel`) join those of the
device.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from tunflow.device import VNET_SIZE, Device
from tunflow.device import Packet as GatherList
from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket
from tunflow.hosting.turns import TaskTurns
from tunflow.loop.codel import CoDel
from tunflow.loop.device_queue import DeviceQueue
from tunflow.loop.reactor import EDGE, READ, Reactor
from tunflow.providers.errors import AppProxyFlowError, AppProxyFlowErrorCode
from tunflow.providers.packet_flow import PacketTunnelFlow
from tunflow.wire import virtio_net
from tunflow.wire.offload import segment

BATCH = 88
"""Packets that one read gives at most: sealed and sent, 1,432 bytes each, they are two full calls of `UDP_SEGMENT`."""
SUPER_BATCH = 4
"""Super-packets that one read gives at most: few, so that they are still in the cache when they are sent on."""

INJECTED = 512
"""Packets of our own connections that wait to be read; more are dropped, as a device's queue would."""


class DevicePacketFlow(PacketTunnelFlow):
    """See `PacketTunnelFlow`. Without a device yet, reading waits and writing fails."""

    def __init__(self, reactor: Reactor, super_packets: bool, failed: Callable[[BaseException], None]) -> None:
        """`failed` hears what a handler raises."""
        self._failed = failed
        self._handler: Callable[[list[bytes]], Awaitable[None] | None] | None = None
        self._handed: asyncio.Future[None] | None = None
        """What the handler gave back, while it is awaited."""
        self._reactor = reactor
        self._super_packets = super_packets
        self._device: Device | None = None
        self._offset = 0
        self._readable = False
        self._closed = False
        self._reading = False
        self._waiter: asyncio.Future[None] | None = None
        self._turns = TaskTurns()
        self._injected: deque[GatherList] = deque()
        self._intercept: Callable[[bytes], bool] | None = None
        self._queue = CoDel()
        self._told = DeviceQueue(BATCH)
        """The same, for a handler."""
        self.packets_in = self.bytes_in = self.packets_out = self.bytes_out = self.refused = 0
        """Read from programs and written to them; what the device did not take."""

    def attach(self, device: Device) -> None:
        """Use a device, which the caller closes."""
        self._device = device
        self._offset = device.vnet_offset
        events = READ | EDGE if self._handler is None else READ
        self._reactor.add(device.fileno(), events, lambda _: self._on_device())
        self._readable = True
        self._wake()

    def close(self) -> None:
        """Stop: whoever reads gets EOFError."""
        if self._device is not None and not self._closed:
            with suppress(OSError, ValueError):
                self._reactor.remove(self._device.fileno())
        self._closed = True
        if self._handed is not None:
            self._handed.cancel()
        self._wake()

    def intercept_by(self, takes: Callable[[bytes], bool] | None) -> None:
        """Offer every packet that the provider writes to `takes`, which says whether it is for a connection of ours;
        None for nobody."""
        self._intercept = takes

    def inject(self, packet: GatherList) -> None:
        """A packet of a connection of our own, behind its virtio-net header, for the provider to read."""
        if len(self._injected) < INJECTED:
            self._injected.append(packet)
            if self._handler is None:
                self._wake()
            elif len(self._injected) == 1:
                self._reactor.call_soon(self._on_device)

    # What the provider does.

    async def read_packets(self) -> list[bytes]:
        """What programs sent into the tunnel."""
        while True:
            packets = self._injected_ones()
            if not packets:
                waiting = await self._read(BATCH)
                packets = self._plain_ones(self._queue.thinned(waiting, BATCH, self._reactor.now))
            if packets:
                return packets

    def set_read_handler(self, handler: Callable[[list[bytes]], Awaitable[None] | None]) -> None:
        """As the base's; epoll tells again of what one event leaves, after others had theirs."""
        self._handler = handler
        if self._device is not None and not self._closed:
            self._reactor.modify(self._device.fileno(), READ)
        if self._injected:
            self._reactor.call_soon(self._on_device)

    def _injected_ones(self) -> list[bytes]:
        packets: list[bytes] = []
        while self._injected:
            packets += _plain(self._injected.popleft())
        return self._counted(packets)

    def _plain_ones(self, waiting: Sequence[bytes]) -> list[bytes]:
        """The plain packets that were read as `waiting`."""
        packets: list[bytes] = []
        offset = self._offset
        for packet in waiting:
            if offset and (packet[1] or packet[0] & virtio_net.NEEDS_CSUM):
                with suppress(BadPacket):
                    packets += _plain((packet[:offset], packet[offset:]))
            else:
                packets.append(packet[offset:])
        return self._counted(packets)

    def _counted(self, packets: list[bytes]) -> list[bytes]:
        self.packets_in += len(packets)
        self.bytes_in += sum(map(len, packets))
        return packets

    async def read_super_packets(self) -> list[bytes]:
        """Packets as the device has them."""
        if not self._super_packets:
            raise AppProxyFlowError(
                AppProxyFlowErrorCode.INVALID_ARGUMENT,
                "read_super_packets needs super_packets = True in the provider's class",
            )
        packets: list[bytes] = []
        while not packets:
            if self._injected:
                packets = [b"".join(packet) for packet in self._injected]
                self._injected.clear()
            else:
                packets = await self._read(SUPER_BATCH)
                if not self._offset:
                    packets = [virtio_net.PLAIN + packet for packet in packets]
        self.packets_in += len(packets)
        self.bytes_in += sum(map(len, packets)) - VNET_SIZE * len(packets)
        return packets

    def write_packets(self, packets: Sequence[Buffer]) -> bool:
        """Give IP packets to the programs. Return True if the system took all of them."""
        plain = virtio_net.PLAIN
        intercept = self._intercept
        if intercept is not None:
            packets = [packet for packet in packets if not intercept(bytes(packet))]
        self.bytes_out += sum(map(len, packets))
        return self._write([(plain, packet) for packet in packets])

    def write_super_packets(self, packets: Sequence[GatherList]) -> bool:
        """Give packets behind virtio-net headers to the programs. Return True if the system took all of them."""
        if self._intercept is not None:
            packets = [packet for packet in packets if not self._intercepted(packet)]
        self.bytes_out += sum(len(piece) for packet in packets for piece in packet) - VNET_SIZE * len(packets)
        return self._write(packets)

    def _write(self, packets: Sequence[GatherList]) -> bool:
        device = self._device
        if device is None or self._closed:
            return False
        try:
            refused = device.write(packets)
        except EOFError:
            self.close()
            return False
        self.packets_out += len(packets) - refused
        self.refused += refused
        return not refused

    def _intercepted(self, packet: GatherList) -> bool:
        assert self._intercept is not None
        try:
            plain = _plain(packet)
        except BadPacket:
            return False
        taken = [self._intercept(each) for each in plain]
        return bool(taken) and all(taken)

    # Reading the device.

    async def _read(self, limit: int) -> list[bytes]:
        """What the device has; empty when something else is there to be read."""
        if self._reading:
            raise AppProxyFlowError(AppProxyFlowErrorCode.READ_ALREADY_PENDING)
        self._reading = True
        try:
            await self._turns.take()
            while True:
                if self._closed:
                    raise EOFError("the tunnel's device is gone")
                if self._readable and self._device is not None:
                    try:
                        packets = self._device.read(limit)
                    except EOFError:
                        self.close()
                        continue
                    self._readable = len(packets) == limit
                    if packets:
                        return packets
                self._waiter = asyncio.get_running_loop().create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None
                    self._turns.begin()
                if self._injected:
                    return []
        finally:
            self._reading = False

    def _on_device(self) -> None:
        if self._handler is None:
            self._readable = True
            self._wake()
        elif self._handed is None and not self._closed:
            self._hand_over(self._handler)

    def _hand_over(self, handler: Callable[[list[bytes]], Awaitable[None] | None]) -> None:
        """Give the handler what is there; nothing more is read while it waits for something."""
        try:
            packets = self._injected_ones()
            if not packets and self._device is not None:
                packets = self._plain_ones(self._told.read(self._device, self._reactor.now))
            wait = handler(packets) if packets else None
        except BaseException as error:
            if isinstance(error, EOFError):
                self.close()
            self._failed(error)
            return
        if wait is not None:
            self._handed = asyncio.ensure_future(wait)
            self._handed.add_done_callback(self._handled)
            if self._device is not None and not self._closed:
                self._reactor.modify(self._device.fileno(), 0)

    def _handled(self, done: asyncio.Future[None]) -> None:
        self._handed = None
        if self._closed or done.cancelled():
            return
        error = done.exception()
        if error is not None and not isinstance(error, OSError):
            self._failed(error)
            return
        if self._device is not None:
            self._reactor.modify(self._device.fileno(), READ)
        if self._injected:
            self._reactor.call_soon(self._on_device)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _plain(packet: GatherList) -> list[bytes]:
    """The plain packets that a packet behind a virtio-net header stands for. Raises BadPacket."""
    return [b"".join(pieces) for pieces in segment(packet)]
