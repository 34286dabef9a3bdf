"""Salsa20 reduced to 8 rounds, in Python: for machines whose libsodium does not export it.

Read first: D. J. Bernstein, "Salsa20 specification" (2005), §§3 to 10; "Salsa20/8 and Salsa20/12" (2006). One integer
holds a word of *every* block of a packet, in lanes of 64 bits of which the lower 32 count, so that an addition, an XOR
or a rotation is one operation on a long integer for all blocks at once.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.poly1305 import Poly1305

from tunflow.endpoint import Buffer
from tunflow.protocols.shadowvpn.seal import KEY_SIZE, NONCE_SIZE, OVERHEAD

BLOCK = 64
_WORDS = struct.Struct("<16I")
_SIGMA = struct.unpack("<4I", b"expand 32-byte k")
_QUARTERS = (
    (0, 4, 8, 12), (5, 9, 13, 1), (10, 14, 2, 6), (15, 3, 7, 11),
    (0, 1, 2, 3), (5, 6, 7, 4), (10, 11, 8, 9), (15, 12, 13, 14),
)  # fmt: skip
"""§5 and §4: the columns, then the rows, of a double round."""
_DOUBLE_ROUNDS = 4


def keystream(key: bytes, nonce: bytes, size: int) -> bytes:
    """The first `size` bytes of the keystream for a key of 32 bytes and a nonce of 8."""
    blocks = -(-size // BLOCK)
    lanes = sum(1 << 64 * block for block in range(blocks))
    mask = 0xFFFFFFFF * lanes
    k = struct.unpack("<8I", key)
    low, high = struct.unpack("<2I", nonce)
    constants = (_SIGMA[0], *k[:4], _SIGMA[1], low, high, 0, 0, _SIGMA[2], *k[4:], _SIGMA[3])
    start = [word * lanes for word in constants]
    start[8] = sum(block << 64 * block for block in range(blocks))  # §10: the block counter
    words = list(start)
    for _ in range(_DOUBLE_ROUNDS):
        for a, b, c, d in _QUARTERS:
            words[b] ^= _rotated((words[a] + words[d]) & mask, 7, mask)
            words[c] ^= _rotated((words[b] + words[a]) & mask, 9, mask)
            words[d] ^= _rotated((words[c] + words[b]) & mask, 13, mask)
            words[a] ^= _rotated((words[d] + words[c]) & mask, 18, mask)
    columns = [
        struct.unpack(f"<{blocks}Q", ((word + first) & mask).to_bytes(8 * blocks, "little"))
        for word, first in zip(words, start, strict=True)
    ]
    return b"".join([_WORDS.pack(*row) for row in zip(*columns, strict=True)])[:size]


def _rotated(lanes: int, by: int, mask: int) -> int:
    """Each 32-bit lane rotated to the left."""
    return ((lanes << by) & mask) | (lanes >> (32 - by)) & mask & _low_bits(by, mask)


def _low_bits(by: int, mask: int) -> int:
    return mask // 0xFFFFFFFF * ((1 << by) - 1)


class PureBox:
    """`SecretBox` without libsodium."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def seal(self, nonces: bytes, front: bytes, packets: Sequence[Buffer]) -> list[bytes]:
        """The datagrams."""
        datagrams = []
        for index, packet in enumerate(packets):
            nonce = nonces[index * NONCE_SIZE : (index + 1) * NONCE_SIZE]
            one_time, ciphertext = self._crypt(nonce, front + bytes(packet))
            datagrams.append(nonce + Poly1305.generate_tag(one_time, ciphertext) + ciphertext)
        return datagrams

    def open(self, datagrams: Sequence[bytes]) -> list[memoryview]:
        """The plaintexts."""
        plaintexts = []
        for datagram in datagrams:
            data = datagram[OVERHEAD:]
            one_time, plaintext = self._crypt(datagram[:NONCE_SIZE], data)
            try:
                Poly1305.verify_tag(one_time, data, datagram[NONCE_SIZE:OVERHEAD])
            except InvalidSignature:
                continue
            plaintexts.append(memoryview(plaintext))
        return plaintexts

    def _crypt(self, nonce: bytes, data: bytes) -> tuple[bytes, bytes]:
        """The key of Poly1305, and the data XORed with the keystream behind it."""
        stream = keystream(self._key, nonce, KEY_SIZE + len(data))
        mixed = int.from_bytes(data, "little") ^ int.from_bytes(stream[KEY_SIZE:], "little")
        return stream[:KEY_SIZE], mixed.to_bytes(len(data), "little")
