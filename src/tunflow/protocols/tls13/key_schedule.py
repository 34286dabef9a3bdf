"""How the secrets of a connection follow from each other (RFC 8446 §7)."""

from __future__ import annotations

import hashlib
import hmac


class KeySchedule:
    """From the key exchange to the secrets of both sides; `hash_name` is the cipher suite's."""

    __slots__ = ("_hash_name", "_secret", "size")

    def __init__(self, hash_name: str) -> None:
        self._hash_name = hash_name
        self.size = hashlib.new(hash_name).digest_size
        """Bytes of a secret."""
        self._secret = self._extract(bytes(self.size), bytes(self.size))

    def mix(self, secret: bytes | None) -> None:
        """Go on to the next stage: the handshake's with the shared secret, then the application's with None."""
        salt = self.derive(self._secret, "derived", hashlib.new(self._hash_name).digest())
        self._secret = self._extract(salt, bytes(self.size) if secret is None else secret)

    def secret(self, label: str, transcript: bytes) -> bytes:
        """A secret of this stage, as Derive-Secret has it; `transcript` is the hash of all messages so far."""
        return self.derive(self._secret, label, transcript)

    def derive(self, secret: bytes, label: str, context: bytes = b"", size: int | None = None) -> bytes:
        """HKDF-Expand-Label (§7.1)."""
        size = self.size if size is None else size
        name = b"tls13 " + label.encode()
        info = size.to_bytes(2, "big") + bytes((len(name),)) + name + bytes((len(context),)) + context
        made, block = b"", b""
        while len(made) < size:
            block = hmac.digest(secret, block + info + bytes((len(made) // self.size + 1,)), self._hash_name)
            made += block
        return made[:size]

    def finished(self, secret: bytes, transcript: bytes) -> bytes:
        """What a side's Finished has, by its secret of the handshake (§4.4.4)."""
        return hmac.digest(self.derive(secret, "finished"), transcript, self._hash_name)

    def _extract(self, salt: bytes, secret: bytes) -> bytes:
        return hmac.digest(salt, secret, self._hash_name)
