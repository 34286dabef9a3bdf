"""A ShadowVPN server: one UDP socket, one packet device, and the users between them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress

from tunflow.contained import Contained
from tunflow.device import Device
from tunflow.endpoint import Buffer, SocketAddress
from tunflow.errors import BadPacket
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.datagram_batches import DatagramBatches
from tunflow.loop.device_queue import DeviceQueue
from tunflow.loop.reactor import READ, Reactor
from tunflow.protocols.shadowvpn.seal import Sealer, SecretBox
from tunflow.protocols.shadowvpn.settings import ShadowVPNConfig
from tunflow.protocols.shadowvpn.users import TunnelUsers, User
from tunflow.wire import virtio_net
from tunflow.wire.coalesce import coalesce
from tunflow.wire.offload import segment

PACKETS = 88
"""Packets read from the device before the other side has its turn: two full calls of `UDP_SEGMENT` at the usual MTU."""

DATAGRAMS = 2
"""Batches of datagrams, likewise: enough for segments that came in two of them to be joined."""


class ShadowVPNServer(Contained):
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
        self._batches = DatagramBatches(sock, sheds=True)
        self._queue = DeviceQueue(PACKETS)
        self._sealer = Sealer(box, os.urandom)
        self._users: TunnelUsers[SocketAddress] = TunnelUsers(config.net, config.user_tokens)
        self._log = log
        self.packets_in = self.packets_out = 0
        """From clients, and to them."""
        self.dropped = 0
        """What authenticated as nobody's, or belongs to nobody."""
        reactor.add(sock.fileno(), READ, lambda _: self._on_socket())
        reactor.add(device.fileno(), READ, lambda _: self._on_device())

    about = "packets of a ShadowVPN user"

    def cut(self) -> None:
        """What came is lost, as datagrams are."""

    def close(self) -> None:
        """Serve no more."""
        self._reactor.remove(self._socket.fileno())
        self._reactor.remove(self._device.fileno())

    def _on_socket(self) -> None:
        datagrams: list[bytes] = []
        heard: SocketAddress | None = None
        with suppress(OSError):  # an ICMP error about a client that is gone
            for batch, source in self._batches.receive(DATAGRAMS, told_again=True):
                if source != heard:
                    self._reactor.contained(self._serve_datagrams, datagrams, heard)
                    datagrams, heard = [], source
                datagrams += batch
        self._serve_datagrams(datagrams, heard)

    def _serve_datagrams(self, datagrams: Sequence[bytes], source: SocketAddress | None) -> None:
        """Hand on what is in them, which came from one place."""
        if source is None:
            return
        plaintexts = self._sealer.open_all_untrusted(datagrams, self._users.token_size)
        self.dropped += len(datagrams) - len(plaintexts)
        if plaintexts:
            packets = self._from_users(plaintexts, source)
            self.packets_in += len(packets)
            self._device.write(coalesce(packets))

    def _from_users(self, plaintexts: Sequence[memoryview], source: SocketAddress) -> Sequence[Buffer]:
        """The packets in what was sent from one place, as they are to go on."""
        users = self._users
        size = users.token_size
        if not size:
            users.from_user_untrusted(b"", plaintexts[-1], source)  # there is one only, and now it is there
            return plaintexts
        packets: list[Buffer] = []
        for plaintext in plaintexts:
            try:
                packets.append(users.from_user_untrusted(bytes(plaintext[:size]), plaintext[size:], source))
            except BadPacket:
                self.dropped += 1
        return packets

    def _on_device(self) -> None:
        """Seal what waits, a run of packets for one user at a time."""
        run: list[Buffer] = []
        user: User[SocketAddress] | None = None
        for packet in self._queue.read(self._device, self._reactor.now):
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
