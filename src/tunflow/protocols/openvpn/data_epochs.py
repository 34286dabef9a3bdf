"""The data channel with epochs (OpenVPN 2.7): keys that each end replaces by itself, without a handshake.

`head 4 | epoch 2, counter 6 | ciphertext | tag 16`. The secret of epoch n+1 follows from that of n, so a receiver has
the next ones ready, and makes keys of them when they are first named (a cipher takes 4 KB, and most epochs never come);
a sender moves on when its key is worn, or when it hears of a later epoch.
Read first: openvpn-rfc, "Epoch data keys".
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket
from tunflow.protocols.openvpn.data_key import TAG, DirectionKeys, aead_of, open_each_untrusted
from tunflow.protocols.openvpn.key_derivation import expand_label
from tunflow.protocols.openvpn.packet import Opcode
from tunflow.protocols.replay_window import ReplayWindow

FUTURE = 16
"""Epochs ahead of the current one that are taken."""
PER_EPOCH = 1 << 26
"""Packets under one epoch's key: 2^36 blocks of AES-GCM in packets of 16 KB."""
LAST_EPOCH = 0xFFFF
_SECRET = 32
_START = struct.Struct("!IQ")
"""Opcode, key and peer; epoch and counter: what is authenticated and not sealed."""
_NONCE = struct.Struct("!QI")
_COUNTER = (1 << 48) - 1


class _Epoch:
    """One epoch's key."""

    __slots__ = ("aead", "iv", "iv_end", "seen")

    def __init__(self, cipher: str, secret: bytes) -> None:
        make, size = aead_of(cipher)
        self.aead = make(expand_label(secret, b"data_key", size))
        self.iv, self.iv_end = _NONCE.unpack(expand_label(secret, b"data_iv", _NONCE.size))
        self.seen = ReplayWindow(first=1)

    def nonce(self, packet_id: int) -> bytes:
        """The IV XOR the packet id in its first bytes."""
        return _NONCE.pack(self.iv ^ packet_id, self.iv_end)


class _Chain:
    """The secrets of one direction, one after the other."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self.made = 0
        """The last epoch that was made."""

    def next(self) -> bytes:
        if self.made:
            self._secret = expand_label(self._secret, b"datakey upd", _SECRET)
        self.made += 1
        return self._secret


class EpochKey:
    """A `DataKey` of many epochs."""

    def __init__(self, cipher: str, key_id: int, peer_id: int, send: DirectionKeys, receive: DirectionKeys) -> None:
        """Raises LocalError for a cipher that is no AEAD."""
        self._head = (Opcode.DATA_V2 << 3 | key_id) << 24 | peer_id
        self._cipher = cipher
        self._sending = _Chain(send.cipher[:_SECRET])
        self._sealing = _Epoch(cipher, self._sending.next())
        self._sent = 0
        self._receiving = _Chain(receive.cipher[:_SECRET])
        self._current = 1
        self._secrets: dict[int, bytes] = {}
        """Of epochs of which nothing has come yet."""
        self._epochs: dict[int, _Epoch] = {}
        self._make_future()

    def seal(self, packets: Sequence[Buffer]) -> list[bytes]:
        """As the method of `DataKey`."""
        out: list[bytes] = []
        while len(out) < len(packets):
            if self._sent >= PER_EPOCH:
                if self._sending.made >= LAST_EPOCH:
                    break
                self._advance(self._sending.made + 1)
            self._seal_run(packets[len(out) : len(out) + PER_EPOCH - self._sent], out)
        return out

    def _seal_run(self, packets: Sequence[Buffer], out: list[bytes]) -> None:
        """Seal packets that all have room in this epoch."""
        epoch, head, start_of, nonce_of = self._sealing, self._head, _START.pack, _NONCE.pack
        encrypt, iv, iv_end = epoch.aead.encrypt, epoch.iv, epoch.iv_end
        packet_id = self._sending.made << 48 | self._sent
        for packet in packets:
            packet_id += 1
            start = start_of(head, packet_id)
            out.append(start + encrypt(nonce_of(iv ^ packet_id, iv_end), packet, start))
        self._sent += len(packets)

    def open_untrusted(self, packet: bytes) -> bytes:
        """As the method of `DataKey`."""
        if len(packet) < 12 + TAG or packet[0] >> 3 != Opcode.DATA_V2:
            raise BadPacket("no data packet with an epoch")
        packet_id = int.from_bytes(packet[4:12], "big")
        number, counter = packet_id >> 48, packet_id & _COUNTER
        epoch = self._epochs.get(number) or self._first_of(number)
        if epoch is None or not epoch.seen.is_new(counter):
            raise BadPacket("a data packet of an epoch that is over or far ahead, or seen before")
        try:
            plain = epoch.aead.decrypt(epoch.nonce(packet_id), packet[12:], packet[:12])
        except InvalidTag:
            raise BadPacket("a data packet that does not authenticate") from None
        epoch.seen.add(counter)
        if number > self._current:
            self._current = number
            self._make_future()
            self._advance(number)
        return plain

    def open_all_untrusted(self, packets: Sequence[bytes]) -> list[bytes]:
        """As the method of `DataKey`: what comes in order is looked at least."""
        out: list[bytes] = []
        at = 0
        while at < len(packets):
            at = self._open_run_untrusted(packets, at, out)
            out += open_each_untrusted(self, packets[at : at + 1])
            at += 1
        return out

    def _open_run_untrusted(self, packets: Sequence[bytes], at: int, out: list[bytes]) -> int:
        """Open those from `at` on that go on where the last one ended; the index of the first that does not."""
        epoch = self._epochs.get(self._current)
        if epoch is None:
            return at
        seen, start_of, nonce_of = epoch.seen, _START.pack, _NONCE.pack
        decrypt, iv, iv_end = epoch.aead.decrypt, epoch.iv, epoch.iv_end
        head = int.from_bytes(packets[at][:4], "big")
        if head >> 27 != Opcode.DATA_V2:
            return at
        packet_id = self._current << 48 | seen.next
        begin, end = at, at + _COUNTER + 1 - seen.next
        try:
            for packet in packets[begin:end]:
                start = start_of(head, packet_id)
                if not packet.startswith(start):
                    break
                out.append(decrypt(nonce_of(iv ^ packet_id, iv_end), packet[12:], start))
                packet_id += 1
                at += 1
        except InvalidTag:
            pass
        seen.add_next(at - begin)
        return at

    @property
    def is_worn(self) -> bool:
        """As `DataKey.is_worn`."""
        return self._sending.made > LAST_EPOCH - FUTURE

    def _advance(self, epoch: int) -> None:
        """Send under this epoch, or a later one as before."""
        while self._sending.made < epoch:
            self._sealing = _Epoch(self._cipher, self._sending.next())
            self._sent = 0

    def _first_of(self, number: int) -> _Epoch | None:
        """The key of an epoch of which something comes for the first time."""
        secret = self._secrets.pop(number, None)
        if secret is None:
            return None
        epoch = self._epochs[number] = _Epoch(self._cipher, secret)
        return epoch

    def _make_future(self) -> None:
        """Have the epochs that may come, and forget those before the previous one."""
        while self._receiving.made < min(self._current + FUTURE, LAST_EPOCH):
            secret = self._receiving.next()
            self._secrets[self._receiving.made] = secret
        for kept in (self._secrets, self._epochs):
            for number in [number for number in kept if number < self._current - 1]:
                del kept[number]
