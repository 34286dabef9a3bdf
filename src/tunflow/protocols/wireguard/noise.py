"""The functions that WireGuard's messages are made with.

Read first: Jason A. Donenfeld, "WireGuard: Next Generation Kernel Network Tunnel" (the paper), §5.4; RFC 7693
(BLAKE2), RFC 7748 (X25519), RFC 8439 (ChaCha20-Poly1305).
"""

from __future__ import annotations

import hmac
from hashlib import blake2s

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from tunflow.errors import BadPacket

KEY_SIZE = 32
MAC_SIZE = 16
TAG_SIZE = 16

CONSTRUCTION = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
IDENTIFIER = b"WireGuard v1 zx2c4 Jason@zx2c4.com"
LABEL_MAC1 = b"mac1----"
LABEL_COOKIE = b"cookie--"

_FIRST_NONCE = bytes(12)


def digest(*pieces: bytes) -> bytes:
    """HASH of the pieces joined: BLAKE2s, 32 bytes."""
    return blake2s(b"".join(pieces)).digest()


def mac(key: bytes, data: bytes) -> bytes:
    """MAC: keyed BLAKE2s, 16 bytes."""
    return blake2s(data, digest_size=MAC_SIZE, key=key).digest()


def kdf(count: int, key: bytes, data: bytes) -> list[bytes]:
    """KDF_n: HKDF (RFC 5869) with HMAC-BLAKE2s, `count` keys of 32 bytes."""
    secret = hmac.digest(key, data, "blake2s")
    keys, last = [], b""
    for number in range(1, count + 1):
        last = hmac.digest(secret, last + bytes((number,)), "blake2s")
        keys.append(last)
    return keys


def seal(key: bytes, data: bytes, associated: bytes) -> bytes:
    """AEAD with counter 0: every key of a handshake is used once."""
    return ChaCha20Poly1305(key).encrypt(_FIRST_NONCE, data, associated)


def open_untrusted(key: bytes, data: bytes, associated: bytes) -> bytes:
    """What `seal` was given. Raises BadPacket."""
    try:
        return ChaCha20Poly1305(key).decrypt(_FIRST_NONCE, data, associated)
    except InvalidTag:
        raise BadPacket("a handshake message that does not authenticate") from None


def public_key(private: bytes) -> bytes:
    """The public key of a private one."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def agree_untrusted(private: bytes, public: bytes) -> bytes:
    """DH. Raises BadPacket for a public key of low order: the result would be known to all (RFC 7748 §6.1)."""
    try:
        return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise BadPacket("a public key of low order") from None


class Transcript:
    """The chaining key and the hash of one handshake, which both ends compute alike (the paper, §5.4.2)."""

    __slots__ = ("chaining_key", "hash")

    def __init__(self, responder_public: bytes) -> None:
        self.chaining_key = _FIRST_CHAINING_KEY
        self.hash = digest(_FIRST_HASH, responder_public)

    def copy(self) -> Transcript:
        """Another, to go on with while this one stays as it is."""
        twin = object.__new__(Transcript)
        twin.chaining_key, twin.hash = self.chaining_key, self.hash
        return twin

    def mix_hash(self, data: bytes) -> None:
        """Both ends have seen `data`."""
        self.hash = digest(self.hash, data)

    def mix_key(self, secret: bytes) -> None:
        """Both ends know `secret`."""
        (self.chaining_key,) = kdf(1, self.chaining_key, secret)

    def mix_key_for_seal(self, secret: bytes) -> bytes:
        """The same, and a key for what is sealed next."""
        self.chaining_key, key = kdf(2, self.chaining_key, secret)
        return key

    def mix_preshared(self, preshared: bytes) -> bytes:
        """Both ends know the pre-shared key, zeros where there is none; the key for what is sealed next."""
        self.chaining_key, both, key = kdf(3, self.chaining_key, preshared)
        self.mix_hash(both)
        return key

    def transport_keys(self) -> tuple[bytes, bytes]:
        """What the initiator sends with, and what the responder sends with."""
        from_initiator, from_responder = kdf(2, self.chaining_key, b"")
        return from_initiator, from_responder


_FIRST_CHAINING_KEY = digest(CONSTRUCTION)
_FIRST_HASH = digest(_FIRST_CHAINING_KEY, IDENTIFIER)
