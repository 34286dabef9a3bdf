"""The keys of the 2022 edition: given, not derived from a password; and what BLAKE3 makes of them.

Read first: SIP022 §2 (keys), SIP023 (identity headers). A client of a server with many users has a chain of keys,
`iPSK0:iPSK1:…:uPSK`: the last is the user's own, those before it lead the way.
"""

from __future__ import annotations

from base64 import b64decode
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

from tunflow.errors import BadPacket, LocalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from blake3 import blake3
    from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
    from cryptography.hazmat.primitives.ciphers.modes import ECB

SESSION_CONTEXT = "shadowsocks 2022 session subkey"
"""SIP022 §2.2."""
IDENTITY_CONTEXT = "shadowsocks 2022 identity subkey"
"""SIP023 §2.2."""

BLOCK = 16
"""Bytes of an AES block, and so of an identity header and of a datagram's separate header."""


def parse_keys(password: str, size: int, *, many: bool) -> tuple[bytes, ...]:
    """The keys in a link's password: base64 of `size` bytes each, with ':' between them if `many` are possible.

    Raises LocalError, without the password.
    """
    parts = password.split(":")
    if len(parts) > 1 and not many:
        raise LocalError("this Shadowsocks method takes one key only; several, with ':' between them, are for AES")
    keys = []
    for part in parts:
        try:
            key = b64decode(part.replace("-", "+").replace("_", "/"), validate=True)
        except ValueError:
            raise LocalError(f"a key of a 2022 method is {size} bytes in base64, {_made_by(size)}") from None
        if len(key) != size:
            raise LocalError(f"the 2022 method's key has {len(key)} bytes; it must have {size}, {_made_by(size)}")
        keys.append(key)
    return tuple(keys)


def session_subkey(key: bytes, salt: bytes) -> bytes:
    """The key for one salt or session id, as long as `key`."""
    return _blake3()(key + salt, derive_key_context=SESSION_CONTEXT).digest(length=len(key))


def identity_subkey(key: bytes, salt: bytes) -> bytes:
    """The key under which a stream's identity header is encrypted."""
    return _blake3()(key + salt, derive_key_context=IDENTITY_CONTEXT).digest(length=len(key))


def identity(key: bytes) -> bytes:
    """What names the next key to whoever holds the one before: the first 16 bytes of its hash."""
    return _blake3()(key).digest(length=BLOCK)


class Users:
    """The users of a server, whose key is `lead`: who a stream or a datagram is from, by its identity header."""

    def __init__(self, lead: bytes, keys: Iterable[bytes]) -> None:
        self.lead = lead
        self._keys = {identity(key): key for key in keys}
        self.decrypt = block_decryptor(lead).update

    def of_stream_untrusted(self, header: bytes, salt: bytes) -> bytes:
        """The key of who opened a stream (SIP023 §2.2). Raises BadPacket for nobody's."""
        return self._known_untrusted(block_decryptor(identity_subkey(self.lead, salt)).update(header))

    def of_datagram_untrusted(self, header: bytes, plain: bytes) -> bytes:
        """The key of who sent a datagram whose separate header is `plain` (SIP023 §2.3). Raises BadPacket."""
        name = int.from_bytes(self.decrypt(header), "big") ^ int.from_bytes(plain, "big")
        return self._known_untrusted(name.to_bytes(BLOCK, "big"))

    def _known_untrusted(self, name: bytes) -> bytes:
        key = self._keys.get(name)
        if key is None:
            raise BadPacket("a Shadowsocks client is none of the users")
        return key


def stream_identities(keys: tuple[bytes, ...], salt: bytes) -> bytes:
    """The identity headers of a stream; empty for one key."""
    return b"".join(
        block_encryptor(identity_subkey(key, salt)).update(identity(following)) for key, following in pairwise(keys)
    )


def block_encryptor(key: bytes) -> CipherContext:
    """AES of single blocks; one may be used for any number of them."""
    return _aes(key).encryptor()


def block_decryptor(key: bytes) -> CipherContext:
    """The inverse of `block_encryptor`."""
    return _aes(key).decryptor()


def _aes(key: bytes) -> Cipher[ECB]:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes  # noqa: PLC0415

    # Blocks of unique content:
    return Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305  (what SIP022 §3.2.2 says)


@cache
def _blake3() -> Callable[..., blake3]:
    from blake3 import blake3  # noqa: PLC0415

    return blake3


def _made_by(size: int) -> str:
    return f"as `openssl rand -base64 {size}` makes one"
