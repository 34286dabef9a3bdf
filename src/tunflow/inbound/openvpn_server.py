"""An OpenVPN server: one UDP socket, one packet device, and the clients between them."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from tunflow.contained import Contained
from tunflow.device import Device
from tunflow.endpoint import Buffer, SocketAddress
from tunflow.errors import BadPacket
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.datagram_batches import DatagramBatches
from tunflow.loop.device_queue import DeviceQueue
from tunflow.loop.reactor import READ, Reactor
from tunflow.protocols.openvpn.server import OpenVPNServerMachine
from tunflow.protocols.openvpn.settings import OpenVPNSettings
from tunflow.wire import virtio_net
from tunflow.wire.coalesce import coalesce
from tunflow.wire.offload import segment

PACKETS = 88
DATAGRAMS = 2
"""Packets of the device, and batches of datagrams, before the other side has its turn."""


class OpenVPNService(Contained):
    """Serves until `close`. The socket is bound and the device up; both stay the caller's to close."""

    about = "packets of an OpenVPN client"

    def __init__(
        self, reactor: Reactor, device: Device, sock: socket.socket, settings: OpenVPNSettings, log: CauseLog
    ) -> None:
        """Raises LocalError for certificates and keys that cannot be used."""
        self._reactor = reactor
        self._device = device
        self._socket = sock
        self._log = log
        self._batches = DatagramBatches(sock, sheds=True)
        self._queue = DeviceQueue(PACKETS)
        self._machine: OpenVPNServerMachine[SocketAddress] = OpenVPNServerMachine(
            settings, reactor.now, unix_offset=time.time() - reactor.now, random_bytes=os.urandom
        )
        self._end_round: Callable[[], None] = self._flush
        self._next_timeout = self._machine.next_timeout
        reactor.add(sock.fileno(), READ, lambda _: self._on_socket())
        reactor.add(device.fileno(), READ, lambda _: self._on_device())
        reactor.add_deadline(self._next_timeout, self._machine.handle_timeout)
        reactor.at_round_end(self._end_round)

    @property
    def clients(self) -> list[str]:
        """The names of those who are connected."""
        return self._machine.clients

    def cut(self) -> None:
        """What came is lost, as datagrams are."""

    def close(self) -> None:
        """Tell the clients, and serve no more."""
        self._machine.close(self._reactor.now)
        self._flush()
        self._reactor.forget_machine(self._end_round, self._next_timeout)
        self._reactor.remove(self._socket.fileno())
        self._reactor.remove(self._device.fileno())

    def _on_socket(self) -> None:
        packets: list[bytes] = []
        with suppress(OSError):  # an ICMP error about a client that is gone
            for batch, source in self._batches.receive(DATAGRAMS, told_again=True):
                self._reactor.contained(self._take, batch, source, packets)
        if packets:
            self._device.write(coalesce(packets))

    def _take(self, batch: Sequence[bytes], source: SocketAddress, packets: list[bytes]) -> None:
        packets += self._machine.receive_untrusted(batch, source, self._reactor.now)

    def _on_device(self) -> None:
        packets = [
            plain for packet in self._queue.read(self._device, self._reactor.now) for plain in self._plain(packet)
        ]
        self._machine.send(packets, self._reactor.now)

    def _plain(self, packet: bytes) -> Iterable[Buffer]:
        """The packets that the device gave as one: as a rule one, for the kernel cuts them."""
        offset = self._device.vnet_offset
        if not offset:
            return (packet,)
        if packet[1] == virtio_net.GSO_NONE and not packet[0] & virtio_net.NEEDS_CSUM:
            return (packet[offset:],)
        view = memoryview(packet)
        try:
            return [b"".join(pieces) for pieces in segment((view[:offset], view[offset:]))]
        except BadPacket:
            return ()

    def _flush(self) -> None:
        for datagrams, where in self._machine.take_output():
            self._reactor.contained(self._send, datagrams, where)

    def _send(self, datagrams: Sequence[bytes], where: SocketAddress) -> None:
        try:
            self._batches.send(datagrams, where)
        except OSError as error:
            self._log.tell(f"send {error.errno}", f"datagrams to a client are dropped: {error.strerror}")
