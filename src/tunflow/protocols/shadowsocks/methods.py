"""The table of methods: their names, sizes and ciphers.

Read first: SIP004 and SIP007 (shadowsocks-org, docs/doc/aead.md), SIP022 for those of the 2022 edition.
`xchacha20-ietf-poly1305` and `aes-192-gcm` are in neither but in shadowsocks-libev and its kin. The ciphers
are those of `cryptography` (OpenSSL), and of PyNaCl (libsodium) for XChaCha20; both are imported when a key is first
made, so that naming a method costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Protocol

from tunflow.endpoint import Buffer
from tunflow.protocols.shadowsocks import keys, keys2022

MAX_PAYLOAD = 0x3FFF
"""SIP004, "TCP": the upper two bits of a chunk's length are reserved and zero."""

MAX_PAYLOAD_2022 = 0xFFFF
"""SIP022 §3.1.2 has no reserved bits."""

TAG_SIZE = 16
"""Bytes that sealing adds; the same for every method (SIP004, "AEAD ciphers")."""


class Aead(Protocol):
    """A keyed cipher, as `cryptography` shapes them. Opening a forgery raises `cryptography`'s InvalidTag."""

    def encrypt(self, nonce: Buffer, data: Buffer, associated_data: Buffer | None) -> bytes:
        """The ciphertext of `data` and its tag."""

    def decrypt(self, nonce: Buffer, data: Buffer, associated_data: Buffer | None) -> bytes:
        """The plaintext of `data`, a ciphertext with its tag. Raises InvalidTag."""


@dataclass(frozen=True, slots=True)
class Method:
    """One method: its canonical name and its sizes in bytes."""

    name: str
    key_size: int
    nonce_size: int
    is_2022: bool = False
    """True if it is of the 2022 edition (SIP022), whose keys, headers and datagrams are others."""

    @property
    def largest_chunk(self) -> int:
        """Bytes of payload in a chunk at most."""
        return MAX_PAYLOAD_2022 if self.is_2022 else MAX_PAYLOAD

    @property
    def salt_size(self) -> int:
        """Bytes of salt in front of a stream or datagram: as many as the key has (SIP004)."""
        return self.key_size

    @property
    def has_identities(self) -> bool:
        """True if several keys may be given, for servers with many users (SIP023: AES only)."""
        return self.is_2022 and "-aes-" in self.name

    def session(self, key: bytes, salt: bytes) -> Aead:
        """The method's cipher under the key of the stream or datagram with this salt."""
        if self.is_2022:
            return _cipher(self.name)(keys2022.session_subkey(key, salt))
        return _cipher(self.name)(keys.subkey(key, salt))

    def aead(self, key: bytes) -> Aead:
        """The method's cipher under a key of `key_size` bytes."""
        return _cipher(self.name)(key)


@cache
def _cipher(name: str) -> Callable[[bytes], Aead]:
    if "aes-" in name:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        return AESGCM
    if name.startswith(("chacha20-", "2022-blake3-chacha20-")):
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305  # noqa: PLC0415

        return ChaCha20Poly1305
    from tunflow.protocols.shadowsocks.xchacha20 import XChaCha20Poly1305  # noqa: PLC0415

    return XChaCha20Poly1305


def invalid_tag() -> type[Exception]:
    """What an `Aead` raises on a forgery; for an `except` clause, evaluated once something was raised."""
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415

    return InvalidTag


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            Method("aes-128-gcm", 16, 12),
            Method("aes-192-gcm", 24, 12),
            Method("aes-256-gcm", 32, 12),
            Method("chacha20-ietf-poly1305", 32, 12),
            Method("xchacha20-ietf-poly1305", 32, 24),
            Method("2022-blake3-aes-128-gcm", 16, 12, is_2022=True),
            Method("2022-blake3-aes-256-gcm", 32, 12, is_2022=True),
            Method("2022-blake3-chacha20-poly1305", 32, 12, is_2022=True),
        )
    }
)
"""Every accepted method under its canonical name."""

_ALIASES = {
    "chacha20-poly1305": "chacha20-ietf-poly1305",
    "xchacha20-poly1305": "xchacha20-ietf-poly1305",
}

_STREAM_CIPHER = re.compile(
    r"(aes|camellia)-(128|192|256)-(cfb|cfb1|cfb8|ofb|ctr)|chacha20(-ietf)?|salsa20|rc4(-md5(-6)?)?|table"
    r"|(bf|cast5|idea|rc2|des|seed)-cfb"
)
_OTHER_METHOD = re.compile(
    r"none|plain|aes-(128|256)-(ccm|gcm-siv)|sm4-(gcm|ccm)"
    r"|2022-blake3-(aes-(128|256)-ccm|chacha(8|12)-poly1305)"
)


def canonical_name(name: str) -> str:
    """The name that `METHODS` would have it under: lower case, aliases of other clients resolved.

    Older clients write `chacha20-poly1305`, `AEAD_CHACHA20_POLY1305` or `aead_aes_128_gcm`. A name that is
    not accepted comes back in the same spelling, which `why_refused` explains.
    """
    plain = name.strip().lower().replace("_", "-").removeprefix("aead-")
    return _ALIASES.get(plain, plain)


def why_refused(name: str) -> str | None:
    """What is wrong with a method that is known but not in `METHODS`; None if it is not known."""
    if _STREAM_CIPHER.fullmatch(name):
        return "is a stream cipher without integrity, deprecated and not supported"
    return "is not supported" if _OTHER_METHOD.fullmatch(name) else None
