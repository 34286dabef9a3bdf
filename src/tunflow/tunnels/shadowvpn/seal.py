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

    def open(self, datagram: Buffer) -> bytes | None:
        """The plaintext of nonce, tag and ciphertext, which are all there; None when the tag is wrong."""


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

    def open_untrusted(self, datagram: Buffer, token_size: int = 0) -> tuple[bytes, memoryview]:
        """The user token (`token_size` bytes) and the packet in a datagram. Raises BadPacket."""
        if len(datagram) < OVERHEAD + token_size:
            raise BadPacket(f"datagram of {len(datagram)} bytes, shorter than its overhead")
        plaintext = self._box.open(datagram)
        if plaintext is None:
            raise BadPacket("datagram that does not authenticate")
        return plaintext[:token_size], memoryview(plaintext)[token_size:]
