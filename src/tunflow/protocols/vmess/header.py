"""The sealed headers of VMess's AEAD edition, and the keys that they make.

Read first: xtls.github.io, "VMess protocol"; v2fly's note on "VMessAEAD" (v2fly-github-io issue 20).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import md5, sha256

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tunflow.endpoint import Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols import xudp
from tunflow.protocols.user_id import user_id
from tunflow.protocols.xudp import port_and_address

VERSION = 1
CONNECT = 1
DATAGRAMS = 2
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
    command: int = CONNECT


def command_key(user: str) -> bytes:
    """The key that a user's id stands for. Raises LocalError for what is none."""
    return md5(user_id(user).bytes + _ID_SALT).digest()


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
            bytes((session.answer, session.options, len(padding) << 4 | session.security, 0, session.command)),
            b"" if session.command == xudp.COMMAND else port_and_address(target),
            padding,
        )
    )
    plain += _fnv1a(plain).to_bytes(4, "big")
    size = _seal(key, b"_Length", identity, nonce, len(plain).to_bytes(2, "big"))
    return b"".join((identity, size, nonce, _seal(key, b"", identity, nonce, plain)))


IDENTITY = 16
"""Bytes of the id that a request begins with."""
_NONCE, _TAG, _SIZE = 8, 16, 2
FRONT = IDENTITY + _SIZE + _TAG + _NONCE
"""Bytes of a request in front of its sealed header."""


def identity_time(key: bytes, identity: bytes) -> int | None:
    """When the user of a key made an id, in seconds since 1970; None for an id that is not that user's."""
    decryptor = Cipher(algorithms.AES(derive(key, b"AES Auth ID Encryption")[:16]), modes.ECB()).decryptor()  # noqa: S305
    block = decryptor.update(identity)
    if zlib.crc32(block[:12]) != int.from_bytes(block[12:], "big"):
        return None
    return int.from_bytes(block[:8], "big")


def request_size(key: bytes, front: bytes) -> int:
    """How many bytes the whole request has whose `FRONT` is given. Raises cryptography's InvalidTag."""
    identity, sealed, nonce = front[:IDENTITY], front[IDENTITY : FRONT - _NONCE], front[FRONT - _NONCE :]
    return FRONT + int.from_bytes(_open(key, b"_Length", identity, nonce, sealed), "big") + _TAG


def open_request_untrusted(key: bytes, request: bytes) -> tuple[Session, Endpoint]:
    """What a whole request says; the target is 0.0.0.0:0 where its frames name theirs.

    Raises BadPacket, and cryptography's InvalidTag.
    """
    identity, nonce = request[:IDENTITY], request[FRONT - _NONCE : FRONT]
    plain = _open(key, b"", identity, nonce, request[FRONT:])
    if len(plain) < _HEAD + 4 or _fnv1a(plain[:-4]).to_bytes(4, "big") != plain[-4:] or plain[0] != VERSION:
        raise BadPacket("a client's VMess request is none")
    answer, options, security, _, command = plain[33:_HEAD]
    session = Session(plain[17:33], plain[1:17], answer, options, security & 15, command)
    if command == xudp.COMMAND:
        return session, Endpoint(bytes(4), 0)
    padding = security >> 4
    parsed = xudp.parse_port_and_address_untrusted(memoryview(plain)[_HEAD : len(plain) - 4])
    if parsed is None or _HEAD + parsed[1] + padding + 4 != len(plain):
        raise BadPacket("a client's VMess request ends inside of its target")
    return session, parsed[0]


_HEAD = 38
"""Bytes of a header in front of its target."""


def seal_answer(session: Session) -> bytes:
    """The answer's header: the byte that the request gave, no options, no command."""
    key, iv = answer_keys(session)
    plain = bytes((session.answer, 0, 0, 0))
    wire = b""
    for purpose, text in ((b" Len", len(plain).to_bytes(2, "big")), (b"", plain)):
        aead, nonce = _answer_aead(key, iv, purpose)
        wire += aead.encrypt(nonce, text, None)
    return wire


def _seal(key: bytes, suffix: bytes, identity: bytes, nonce: bytes, plain: bytes) -> bytes:
    aead, iv = _request_aead(key, suffix, identity, nonce)
    return aead.encrypt(iv, plain, identity)


def _open(key: bytes, suffix: bytes, identity: bytes, nonce: bytes, sealed: bytes) -> bytes:
    aead, iv = _request_aead(key, suffix, identity, nonce)
    return aead.decrypt(iv, sealed, identity)


def _request_aead(key: bytes, suffix: bytes, identity: bytes, nonce: bytes) -> tuple[AESGCM, bytes]:
    sealing = derive(key, b"VMess Header AEAD Key" + suffix, identity, nonce)[:16]
    return AESGCM(sealing), derive(key, b"VMess Header AEAD Nonce" + suffix, identity, nonce)[:12]


def answer_keys(session: Session) -> tuple[bytes, bytes]:
    """Key and IV of the server's direction."""
    return sha256(session.key).digest()[:16], sha256(session.iv).digest()[:16]


def open_answer_part(key: bytes, iv: bytes, purpose: bytes, sealed: bytes) -> bytes:
    """A part of the answer's header: `purpose` is b" Len" for its size, b"" for itself.

    Raises cryptography's InvalidTag.
    """
    aead, nonce = _answer_aead(key, iv, purpose)
    return aead.decrypt(nonce, sealed, None)


def _answer_aead(key: bytes, iv: bytes, purpose: bytes) -> tuple[AESGCM, bytes]:
    opening = derive(key, b"AEAD Resp Header" + purpose + b" Key")[:16]
    return AESGCM(opening), derive(iv, b"AEAD Resp Header" + purpose + b" IV")[:12]


def _fnv1a(data: bytes) -> int:
    """FNV-1a of 32 bits."""
    value = 0x811C9DC5
    for byte in data:
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value
