"""The wire format of ShadowVPN: nonce (8 bytes), tag (16), ciphertext of an optional user token (8) and an IP packet.

Facts (clowwindy/ShadowVPN 17f86cc, src/crypto.c; vectors in tests/vectors/shadowvpn.toml):

1. The cipher is Salsa20/8 with an 8-byte nonce, not the XSalsa20 of crypto_secretbox. Of its keystream, bytes 0 to 31
   are the key of Poly1305, and the plaintext is XORed with what follows from byte 32 on.
2. The tag is Poly1305 over the ciphertext. The key is the unkeyed BLAKE2b of the password, 32 bytes.
3. There is no handshake, no counter and no time: whoever records a datagram can send it again, and whoever learns the
   password can read all that was ever recorded. docs/shadowvpn.md says so to users.
4. A datagram that is too short or does not authenticate is dropped without a word.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Protocol

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket

NONCE_SIZE = 8
TAG_SIZE = 16
KEY_SIZE = 32
TOKEN_SIZE = 8
OVERHEAD = NONCE_SIZE + TAG_SIZE
"""Bytes added to a packet, without a token."""

MAX_MTU = 9000
MIN_MTU = 68 + OVERHEAD
"""What the original accepts (src/args.c)."""


class SecretBox(Protocol):
    """Salsa20/8 and Poly1305 as ShadowVPN joins them, under one key."""

    def seal(self, nonces: bytes, front: bytes, packets: Sequence[Buffer]) -> list[bytes]:
        """Nonce, tag and ciphertext of each packet, `front` before it; `nonces` are joined, one for each."""

    def open(self, datagrams: Sequence[bytes]) -> list[memoryview]:
        """The plaintexts of those whose tag is right, each valid until the next call; `OVERHEAD` bytes are there."""


def master_key(password: bytes) -> bytes:
    """The key that a password stands for."""
    return hashlib.blake2b(password, digest_size=KEY_SIZE).digest()


class Sealer:
    """One end of a tunnel: packets to datagrams and back. `random` gives that many random bytes."""

    def __init__(self, box: SecretBox, random: Callable[[int], bytes]) -> None:
        self._box = box
        self._random = random

    def seal(self, packets: Sequence[Buffer], token: bytes = b"") -> list[bytes]:
        """The datagrams for whole packets; `token` names the user to a server that has several."""
        return self._box.seal(self._random(NONCE_SIZE * len(packets)), token, packets)

    def open_all_untrusted(self, datagrams: Sequence[bytes], token_size: int = 0) -> list[memoryview]:
        """What is in those that authenticate: user token (`token_size` bytes) and packet, valid until the next call."""
        least = OVERHEAD + token_size
        if min(map(len, datagrams), default=least) < least:
            datagrams = [datagram for datagram in datagrams if len(datagram) >= least]
        return self._box.open(datagrams)

    def open_untrusted(self, datagram: Buffer, token_size: int = 0) -> tuple[bytes, memoryview]:
        """The user token (`token_size` bytes) and the packet in one datagram. Raises BadPacket."""
        for plaintext in self.open_all_untrusted([bytes(datagram)], token_size):
            return bytes(plaintext[:token_size]), plaintext[token_size:]
        raise BadPacket("datagram that is too short or does not authenticate")
