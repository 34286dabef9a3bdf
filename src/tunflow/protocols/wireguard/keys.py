"""Keys as people handle them: 32 bytes in base64, made from random bytes that the caller has."""

from __future__ import annotations

from base64 import b64decode, b64encode

from tunflow.errors import LocalError
from tunflow.protocols.wireguard.noise import KEY_SIZE


def format_key(key: bytes) -> str:
    """A key as `wg` writes it: 44 characters."""
    return b64encode(key).decode()


def parse_key(text: str) -> bytes:
    """The key in a text. Raises LocalError, which does not show it."""
    try:
        key = b64decode(text.strip(), validate=True)
    except ValueError:
        key = b""
    if len(key) != KEY_SIZE:
        raise LocalError(f"not a WireGuard key: {KEY_SIZE} bytes in base64, 44 characters that end in =, are accepted")
    return key


def private_key(random: bytes) -> bytes:
    """A private key made of 32 random bytes, its bits set as RFC 7748 §5 wants them."""
    key = bytearray(random)
    key[0] &= 248
    key[31] = key[31] & 127 | 64
    return bytes(key)
