"""Protected records (RFC 8446 §5): one direction of a connection, under one traffic secret after the other."""

from __future__ import annotations

from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket
from tunflow.protocols.tls13.key_schedule import KeySchedule

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23
HEADER = 5
LONGEST = 1 << 14
"""Bytes of content in a record."""
LONGEST_SEALED = LONGEST + 256
RECORDS_AT_MOST = 1 << 24
"""Under one key, by AES-GCM (§5.5)."""
_TAG = 16


class Suite:
    """A cipher suite."""

    __slots__ = ("hash_name", "key_size", "make")

    def __init__(self, make: type[AESGCM] | type[ChaCha20Poly1305], key_size: int, hash_name: str) -> None:
        self.make = make
        self.key_size = key_size
        self.hash_name = hash_name


SUITES = {
    0x1301: Suite(AESGCM, 16, "sha256"),
    0x1302: Suite(AESGCM, 32, "sha384"),
    0x1303: Suite(ChaCha20Poly1305, 32, "sha256"),
}


class _Cipher(Protocol):
    def encrypt(self, nonce: bytes, data: Buffer, associated_data: bytes) -> bytes:
        """Content and tag."""

    def decrypt(self, nonce: bytes, data: Buffer, associated_data: bytes) -> bytes:
        """Raises InvalidTag."""


class ProtectedDirection:
    """Seals or opens."""

    __slots__ = ("_cipher", "_iv", "_schedule", "_secret", "_suite", "count")

    def __init__(self, suite: Suite, schedule: KeySchedule, secret: bytes) -> None:
        self._suite = suite
        self._schedule = schedule
        self.use(secret)

    def use(self, secret: bytes) -> None:
        """Go on with the keys of another secret."""
        derive = self._schedule.derive
        self._secret = secret
        self._cipher: _Cipher = self._suite.make(derive(secret, "key", size=self._suite.key_size))
        self._iv = int.from_bytes(derive(secret, "iv", size=12), "big")
        self.count = 0
        """Records so far under this key."""

    def update(self) -> None:
        """Go on with the next key (§7.2)."""
        self.use(self._schedule.derive(self._secret, "traffic upd"))

    def seal(self, kind: int, content: Buffer) -> bytes:
        """One record."""
        header = b"\x17\x03\x03" + (len(content) + 1 + _TAG).to_bytes(2, "big")
        return header + self._cipher.encrypt(self._nonce(), b"".join((content, bytes((kind,)))), header)

    def open_untrusted(self, record: memoryview) -> tuple[int, memoryview]:
        """The kind and the content of a whole record. Raises BadPacket."""
        try:
            inside = self._cipher.decrypt(self._nonce(), record[HEADER:], bytes(record[:HEADER]))
        except InvalidTag:
            raise BadPacket("TLS: a record does not open") from None
        if inside and not inside[-1]:
            inside = inside.rstrip(b"\0")  # padding
        if not inside or len(inside) > LONGEST + 1:
            raise BadPacket("TLS: a record without a kind, or too long")
        return inside[-1], memoryview(inside)[:-1]

    def _nonce(self) -> bytes:
        count = self.count
        self.count = count + 1
        return (self._iv ^ count).to_bytes(12, "big")
