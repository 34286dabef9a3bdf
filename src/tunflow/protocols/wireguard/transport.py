"""Transport messages under one pair of keys: packets sealed and opened in batches, replays dropped.

A batch is one piece of memory: each packet is sealed straight into its place there, and opened likewise, so that no
byte of payload is copied in Python. Read first: the paper, §5.4.6.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from tunflow.endpoint import Buffer
from tunflow.protocols.wireguard.handshake import TransportKeys
from tunflow.protocols.wireguard.messages import KEEPALIVE_SIZE, TRANSPORT, TRANSPORT_HEADER
from tunflow.protocols.wireguard.noise import TAG_SIZE
from tunflow.protocols.wireguard.replay import ReplayWindow

REKEY_AFTER_MESSAGES = 1 << 60
REJECT_AFTER_MESSAGES = (1 << 64) - (1 << 13) - 1
OVERHEAD = TRANSPORT_HEADER + TAG_SIZE
"""Bytes around a padded packet."""
PADDED_TO = 16

_HEADER = struct.Struct("<IIQ")
_NONCE = struct.Struct("<4xQ")
_COUNTER = struct.Struct("<Q")
_INDEX = struct.Struct("<I")
_ZEROS = bytes(PADDED_TO)


def padding_of(size: int, mtu: int) -> int:
    """Zeros behind a packet of `size` bytes: to a multiple of 16, but not beyond the MTU."""
    padding = -size % PADDED_TO
    return padding if size + padding <= mtu else max(mtu - size, 0)


class Keypair:
    """The keys of one handshake."""

    __slots__ = ("_decrypt", "_encrypt", "_window", "created", "is_initiator", "local_index", "remote_index", "sent")

    def __init__(self, keys: TransportKeys, created: float) -> None:
        self._encrypt = ChaCha20Poly1305(keys.send).encrypt_into
        self._decrypt = ChaCha20Poly1305(keys.receive).decrypt_into
        self._window = ReplayWindow()
        self.created = created
        self.is_initiator = keys.is_initiator
        self.local_index = keys.local_index
        self.remote_index = keys.remote_index
        self.sent = 0
        """Messages sealed: the next counter."""

    @property
    def receiver(self) -> bytes:
        """Our index, as messages to us have it."""
        return _INDEX.pack(self.local_index)

    def seal(self, packets: Sequence[Buffer], mtu: int) -> list[memoryview]:
        """The messages, fewer when the counters are used up."""
        packets = packets[: max(REJECT_AFTER_MESSAGES - self.sent, 0)]
        encrypt, pack_header, pack_nonce, index = self._encrypt, _HEADER.pack_into, _NONCE.pack, self.remote_index
        memory = memoryview(bytearray(sum(map(len, packets)) + (OVERHEAD + PADDED_TO) * len(packets)))
        counter, start = self.sent, 0
        messages = []
        for packet in packets:
            padding = padding_of(len(packet), mtu)
            text = b"".join((packet, _ZEROS[:padding])) if padding else packet
            end = start + OVERHEAD + len(text)
            pack_header(memory, start, TRANSPORT, index, counter)
            encrypt(pack_nonce(counter), text, None, memory[start + TRANSPORT_HEADER : end])
            messages.append(memory[start:end])
            counter += 1
            start = end
        self.sent = counter
        return messages

    def open_all_untrusted(self, messages: Sequence[bytes]) -> list[memoryview]:
        """The packets, still padded, of those messages that authenticate and are new. A keepalive's is empty."""
        decrypt, window, counter_of, nonce_of = self._decrypt, self._window, _COUNTER.unpack_from, _NONCE.pack
        memory = memoryview(bytearray(sum(map(len, messages))))
        start = 0
        packets = []
        for message in messages:
            if len(message) < KEEPALIVE_SIZE:
                continue
            (counter,) = counter_of(message, 8)
            if counter >= REJECT_AFTER_MESSAGES or not window.is_new(counter):
                continue
            end = start + len(message) - OVERHEAD
            packet = memory[start:end]
            try:
                decrypt(nonce_of(counter), memoryview(message)[TRANSPORT_HEADER:], None, packet)
            except InvalidTag:
                continue
            window.add(counter)
            packets.append(packet)
            start = end
        return packets
