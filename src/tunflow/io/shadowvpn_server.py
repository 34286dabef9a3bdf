"""A ShadowVPN server: one UDP socket, one packet device, and the users between them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Sequence

from tunflow.device import Device
from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket
from tunflow.io.cause_log import CauseLog
from tunflow.io.datagram_batches import DatagramBatches
from tunflow.io.dialer import SocketAddress
from tunflow.io.reactor import READ, Reactor
from tunflow.tunnels.shadowvpn.config import ShadowVPNConfig
from tunflow.tunnels.shadowvpn.seal import Sealer, SecretBox
from tunflow.tunnels.shadowvpn.users import User, Users
from tunflow.wire import virtio_net
from tunflow.wire.coalesce import coalesce
from tunflow.wire.offload import segment

BATCH = 64
"""Packets, or batches of datagrams, served before the other side has its turn."""


class ShadowVPNServer:
    """Serves until `close`. The socket is bound and the device up; both stay the caller's to close."""

    def __init__(
        self,
        reactor: Reactor,
        device: Device,
        sock: socket.socket,
        config: ShadowVPNConfig,
        box: SecretBox,
        log: CauseLog,
    ) -> None:
        self._reactor = reactor
        self._device = device
        self._socket = sock
        self._batches = DatagramBatches(sock)
        self._sealer = Sealer(box, os.urandom)
        self._users: Users[SocketAddress] = Users(config.net, config.user_tokens)
        self._log = log
        self.packets_in = self.packets_out = 0
        """From clients, and to them."""
        self.dropped = 0
        """What authenticated as nobody's, or belongs to nobody."""
        reactor.add(sock.fileno(), READ, lambda _: self._on_socket())
        reactor.add(device.fileno(), READ, lambda _: self._on_device())

    def close(self) -> None:
        """Serve no more."""
        self._reactor.remove(self._socket.fileno())
        self._reactor.remove(self._device.fileno())

    def _on_socket(self) -> None:
        users, sealer = self._users, self._sealer
        token_size = users.token_size
        packets: list[Buffer] = []
        try:
            for datagram, source in self._batches.receive(BATCH):
                try:
                    token, packet = sealer.open_untrusted(datagram, token_size)
                    packets.append(users.from_user_untrusted(token, packet, source))
                except BadPacket:
                    self.dropped += 1
        except OSError:
            pass  # an ICMP error about a client that is gone
        if packets:
            self.packets_in += len(packets)
            self._device.write(coalesce(packets))

    def _on_device(self) -> None:
        """Seal what waits, a run of packets for one user at a time."""
        run: list[Buffer] = []
        user: User[SocketAddress] | None = None
        for packet in self._device.read(BATCH):
            for plain in self._plain(packet):
                try:
                    whose, mended = self._users.to_user_untrusted(plain)
                except BadPacket:
                    self.dropped += 1
                    continue
                if whose is not user:
                    self._send(run, user)
                    run, user = [], whose
                run.append(mended)
        self._send(run, user)

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
            self.dropped += 1
            return ()

    def _send(self, run: Sequence[Buffer], user: User[SocketAddress] | None) -> None:
        if not run or user is None:
            return
        try:
            self.packets_out += self._batches.send(self._sealer.seal(run, user.token), user.where)
        except OSError as error:
            self._log.tell(f"send {error.errno}", f"datagrams to a client are dropped: {error.strerror}")
