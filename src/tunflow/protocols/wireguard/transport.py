"""Transport messages under one pair of keys: packets sealed and opened in batches, replays dropped.

A batch that is sealed is one piece of memory: each packet goes straight into its place there.
Read first: the paper, §5.4.6.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from tunflow.endpoint import Buffer
from tunflow.protocols.replay_window import ReplayWindow
from tunflow.protocols.wireguard.handshake import TransportKeys
from tunflow.protocols.wireguard.messages import KEEPALIVE_SIZE, TRANSPORT, TRANSPORT_HEADER
from tunflow.protocols.wireguard.noise import TAG_SIZE

REKEY_AFTER_MESSAGES = 1 << 60
REJECT_AFTER_MESSAGES = (1 << 64) - (1 << 13) - 1
OVERHEAD = TRANSPORT_HEADER + TAG_SIZE
"""Bytes around a padded packet."""
PADDED_TO = 16

_HEADER = struct.Struct("<IIQ")
_NONCE = struct.Struct("<4xQ")
_BEFORE_COUNTER = bytes(4)
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
        self._decrypt = ChaCha20Poly1305(keys.receive).decrypt
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

    def open_all_untrusted(self, messages: Sequence[bytes]) -> list[bytes]:
        """The packets, still padded, of those messages that authenticate and are new. A keepalive's is empty.

        What comes in order is looked at least: the window hears of a whole run at once.
        """
        decrypt, window = self._decrypt, self._window
        expected, in_order = window.next, 0
        packets = []
        for message in messages:
            if len(message) < KEEPALIVE_SIZE:
                continue
            counter = int.from_bytes(message[8:TRANSPORT_HEADER], "little")
            comes_next = counter == expected
            if not comes_next and in_order:
                window.add_next(in_order)
                in_order = 0
            if counter >= REJECT_AFTER_MESSAGES or not (comes_next or window.is_new(counter)):
                continue
            try:
                packet = decrypt(_BEFORE_COUNTER + message[8:TRANSPORT_HEADER], message[TRANSPORT_HEADER:], None)
            except InvalidTag:
                continue
            packets.append(packet)
            if comes_next:
                in_order += 1
                expected += 1
            else:
                window.add(counter)
                expected = window.next
        if in_order:
            window.add_next(in_order)
        return packets
