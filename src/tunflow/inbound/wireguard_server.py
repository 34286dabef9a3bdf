"""A WireGuard server: one UDP socket, one packet device, and the peers between them."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

from tunflow.addresses import ip_address
from tunflow.contained import Contained
from tunflow.device import Device
from tunflow.endpoint import Buffer, Endpoint, SocketAddress
from tunflow.errors import BadPacket
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.datagram_batches import DatagramBatches
from tunflow.loop.device_queue import DeviceQueue
from tunflow.loop.reactor import READ, Reactor, Timer
from tunflow.protocols.wireguard.interface import Interface
from tunflow.protocols.wireguard.peer import Outgoing
from tunflow.protocols.wireguard.settings import WireGuardSettings
from tunflow.wire import virtio_net
from tunflow.wire.coalesce import coalesce
from tunflow.wire.offload import segment

PACKETS = 88
"""Packets read from the device before the other side has its turn: two full calls of `UDP_SEGMENT`."""
DATAGRAMS = 2
"""Batches of datagrams, likewise: each takes as long as the packets of one read."""
_MAPPED = bytes(10) + b"\xff\xff"
"""RFC 4291 section 2.5.5.2: how an IPv6 socket names an IPv4 address."""


class WireGuardListener(Contained):
    """Serves until `close`. The socket is bound and the device up; both stay the caller's to close."""

    about = "packets of a WireGuard peer"

    def __init__(
        self, reactor: Reactor, device: Device, sock: socket.socket, settings: WireGuardSettings, log: CauseLog
    ) -> None:
        self._reactor = reactor
        self._device = device
        self._socket = sock
        self._is_v6 = sock.family == socket.AF_INET6
        self._batches = DatagramBatches(sock, sheds=True)
        self._queue = DeviceQueue(PACKETS)
        self._log = log
        self._timer: Timer | None = None
        self.interface = Interface(settings.private_key, settings.mtu, os.urandom, time.time_ns)
        for each in settings.peers:
            self.interface.add_peer(
                each.public_key,
                preshared=each.preshared_key,
                allowed_ips=each.allowed_ips,
                endpoint=each.endpoint,
                persistent_keepalive=each.persistent_keepalive,
            )
        reactor.add(sock.fileno(), READ, lambda _: self._on_socket())
        reactor.add(device.fileno(), READ, lambda _: self._on_device())
        self.interface.start(reactor.now)
        self._flush()

    def cut(self) -> None:
        """What came is lost, as datagrams are."""

    def close(self) -> None:
        """Serve no more."""
        self._reactor.remove(self._socket.fileno())
        self._reactor.remove(self._device.fileno())
        if self._timer is not None:
            self._timer.cancel()

    def _on_socket(self) -> None:
        with suppress(OSError):  # an ICMP error about a peer that is gone
            for batch, source in self._batches.receive(DATAGRAMS, told_again=True):
                self._reactor.contained(self._take, batch, source)
        packets = self.interface.drain_packets()
        if packets:
            self._device.write(coalesce(packets))
        self._flush()

    def _take(self, batch: Sequence[bytes], source: Sequence[object]) -> None:
        self.interface.receive_untrusted(batch, self._endpoint(source), self._reactor.now)

    def _on_device(self) -> None:
        packets = [
            plain for packet in self._queue.read(self._device, self._reactor.now) for plain in self._plain(packet)
        ]
        self._reactor.contained(self._give, packets)
        self._flush()

    def _give(self, packets: Sequence[Buffer]) -> None:
        self.interface.send_untrusted(packets, self._reactor.now)

    def _on_time(self) -> None:
        self._timer = None
        self._reactor.contained(self._pass_time)
        self._flush()

    def _pass_time(self) -> None:
        self.interface.handle_timeout(self._reactor.now)

    def _flush(self) -> None:
        """Send what there is to send, and come back when it is time, whatever goes wrong with one peer's."""
        try:
            for outgoing in self.interface.drain_datagrams():
                self._reactor.contained(self._send, outgoing)
            self.interface.drain_events()
        finally:
            self._wait()

    def _send(self, outgoing: Outgoing) -> None:
        try:
            self._batches.send(outgoing.datagrams, self._address(outgoing.to))
        except OSError as error:
            self._log.tell(f"send {error.errno}", f"datagrams to a peer are dropped: {error.strerror}")

    def _wait(self) -> None:
        when = self.interface.next_timeout()
        if when is None:
            return
        if self._timer is not None and self._timer.when > when:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self._reactor.call_at(when, self._on_time)

    def _plain(self, packet: bytes) -> Iterable[memoryview]:
        """The packets that the device gave as one: as a rule one, for the kernel cuts them."""
        view = memoryview(packet)
        offset = self._device.vnet_offset
        if not offset:
            return (view,)
        if packet[1] == virtio_net.GSO_NONE and not packet[0] & virtio_net.NEEDS_CSUM:
            return (view[offset:],)
        try:
            return [memoryview(b"".join(pieces)) for pieces in segment((view[:offset], view[offset:]))]
        except BadPacket:
            return ()

    def _endpoint(self, source: Sequence[object]) -> Endpoint:
        host = ip_address(str(source[0]).partition("%")[0]).packed
        return Endpoint(host.removeprefix(_MAPPED), int(str(source[1])))

    def _address(self, to: Endpoint) -> SocketAddress:
        host = to.host if isinstance(to.host, bytes) else b""
        is_mapped = self._is_v6 and len(host) == 4
        return (f"::ffff:{to.host_text}" if is_mapped else to.host_text, to.port)
