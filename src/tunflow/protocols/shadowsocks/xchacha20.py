"""XChaCha20-Poly1305 from libsodium, in the shape of `cryptography`'s ciphers.

Read first: draft-irtf-cfrg-xchacha-03. `cryptography` has no XChaCha20; PyNaCl has, and takes and gives
`bytes` only, so this method copies where the others do not.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError

from tunflow.endpoint import Buffer


class XChaCha20Poly1305:
    """The cipher under one 32-byte key; nonces have 24 bytes. Satisfies `methods.Aead`."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def encrypt(self, nonce: Buffer, data: Buffer, associated_data: Buffer | None) -> bytes:
        """The ciphertext of `data` and its tag."""
        return crypto_aead_xchacha20poly1305_ietf_encrypt(bytes(data), _bytes(associated_data), bytes(nonce), self._key)

    def decrypt(self, nonce: Buffer, data: Buffer, associated_data: Buffer | None) -> bytes:
        """The plaintext of `data`, a ciphertext with its tag. Raises InvalidTag."""
        try:
            return crypto_aead_xchacha20poly1305_ietf_decrypt(
                bytes(data), _bytes(associated_data), bytes(nonce), self._key
            )
        except CryptoError as error:
            raise InvalidTag from error


def _bytes(data: Buffer | None) -> bytes | None:
    return None if data is None else bytes(data)
