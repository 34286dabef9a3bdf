"""The sealed headers of VMess's AEAD edition, and the keys that they make.

Read first: xtls.github.io, "VMess protocol"; v2fly's note on "VMessAEAD" (v2fly-github-io issue 20).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import md5, sha256
from uuid import UUID

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tunflow.endpoint import Endpoint
from tunflow.protocols.vless.stream import port_and_address

VERSION = 1
CONNECT = 1
_ID_SALT = b"c48619fe-8f02-49e0-b9e9-edf763e17e21"
_BLOCK = 64
"""Bytes of a block of SHA-256, of which HMAC makes its pads (RFC 2104)."""

Hash = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Session:
    """What one stream's request tells the server: keys for both directions, and its answer's first byte."""

    key: bytes
    iv: bytes
    answer: int
    options: int
    security: int


def command_key(user: str) -> bytes:
    """The key that a user's id stands for."""
    return md5(UUID(user).bytes + _ID_SALT).digest()


def derive(key: bytes, *path: bytes) -> bytes:
    """The 32 bytes for a purpose: HMAC in HMAC, each word of `path` the key of one that hashes by the one before."""
    function: Hash = _hmac_with(lambda data: sha256(data).digest(), b"VMess AEAD KDF")
    for word in path:
        function = _hmac_with(function, word)
    return function(key)


def _hmac_with(inner: Hash, key: bytes) -> Hash:
    padded = (inner(key) if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
    inside, outside = bytes(byte ^ 0x36 for byte in padded), bytes(byte ^ 0x5C for byte in padded)
    return lambda data: inner(outside + inner(inside + data))


def seal_request(
    key: bytes, target: Endpoint, session: Session, now: int, random_bytes: Callable[[int], bytes]
) -> bytes:
    """The request for `target` at `now` (seconds since 1970): an id that shows who we are, and the sealed header."""
    stamp = now.to_bytes(8, "big") + random_bytes(4)
    block = stamp + zlib.crc32(stamp).to_bytes(4, "big")
    # One block under a key of its own is a permutation, which is what VMess wants of it: nothing repeats.
    encryptor = Cipher(algorithms.AES(derive(key, b"AES Auth ID Encryption")[:16]), modes.ECB()).encryptor()  # noqa: S305
    identity = encryptor.update(block)
    nonce = random_bytes(8)
    padding = random_bytes(random_bytes(1)[0] & 15)
    plain = b"".join(
        (
            bytes((VERSION,)),
            session.iv,
            session.key,
            bytes((session.answer, session.options, len(padding) << 4 | session.security, 0, CONNECT)),
            port_and_address(target),
            padding,
        )
    )
    plain += _fnv1a(plain).to_bytes(4, "big")
    size = _seal(key, b"_Length", identity, nonce, len(plain).to_bytes(2, "big"))
    return b"".join((identity, size, nonce, _seal(key, b"", identity, nonce, plain)))


def _seal(key: bytes, suffix: bytes, identity: bytes, nonce: bytes, plain: bytes) -> bytes:
    sealing = derive(key, b"VMess Header AEAD Key" + suffix, identity, nonce)[:16]
    iv = derive(key, b"VMess Header AEAD Nonce" + suffix, identity, nonce)[:12]
    return AESGCM(sealing).encrypt(iv, plain, identity)


def answer_keys(session: Session) -> tuple[bytes, bytes]:
    """Key and IV of the server's direction."""
    return sha256(session.key).digest()[:16], sha256(session.iv).digest()[:16]


def open_answer_part(key: bytes, iv: bytes, purpose: bytes, sealed: bytes) -> bytes:
    """A part of the answer's header: `purpose` is b" Len" for its size, b"" for itself.

    Raises cryptography's InvalidTag.
    """
    opening = derive(key, b"AEAD Resp Header" + purpose + b" Key")[:16]
    nonce = derive(iv, b"AEAD Resp Header" + purpose + b" IV")[:12]
    return AESGCM(opening).decrypt(nonce, sealed, None)


def _fnv1a(data: bytes) -> int:
    """FNV-1a of 32 bits."""
    value = 0x811C9DC5
    for byte in data:
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value
