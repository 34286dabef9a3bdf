"""Key files: the static key of tls-auth and tls-crypt, and the client's key of tls-crypt-v2.

A static key is two keys, one for each direction, of 64 bytes for a cipher and 64 for an HMAC.
Read first: openvpn-rfc, "Static key file" and "tls-crypt-v2".
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass, field

from tunflow.errors import LocalError

KEY_SIZE = 256
_STATIC = re.compile(r"-----BEGIN OpenVPN Static key V1-----(.*?)-----END OpenVPN Static key V1-----", re.DOTALL)
_CLIENT = re.compile(
    r"-----BEGIN OpenVPN tls-crypt-v2 client key-----(.*?)-----END OpenVPN tls-crypt-v2 client key-----", re.DOTALL
)
_SERVER = re.compile(
    r"-----BEGIN OpenVPN tls-crypt-v2 server key-----(.*?)-----END OpenVPN tls-crypt-v2 server key-----", re.DOTALL
)
LARGEST_WRAPPED = 1024
"""Bytes that a wrapped client key may have (TLS_CRYPT_V2_MAX_WKC_LEN)."""


@dataclass(frozen=True, slots=True)
class StaticKey:
    """256 bytes: cipher and HMAC of one direction, then of the other."""

    data: bytes = field(repr=False)

    def cipher(self, direction: int) -> bytes:
        """The 64 bytes for the cipher of direction 0 or 1."""
        return self.data[128 * direction : 128 * direction + 64]

    def hmac(self, direction: int) -> bytes:
        """The 64 bytes for the HMAC of direction 0 or 1."""
        return self.data[128 * direction + 64 : 128 * direction + 128]


@dataclass(frozen=True, slots=True)
class ClientKey:
    """What a tls-crypt-v2 client has: its key, and the same wrapped for the server."""

    key: StaticKey
    wrapped: bytes = field(repr=False)


def parse_static_key(text: str, where: str) -> StaticKey:
    """The key in a file. `where` begins an error. Raises LocalError."""
    found = _STATIC.search(text)
    if not found:
        raise LocalError(f"{where}: expected a file with -----BEGIN OpenVPN Static key V1-----")
    try:
        data = bytes.fromhex("".join(found[1].split()))
    except ValueError:
        raise LocalError(f"{where}: the static key is not all hexadecimal digits") from None
    if len(data) != KEY_SIZE:
        raise LocalError(f"{where}: the static key has {len(data)} bytes, not {KEY_SIZE}")
    return StaticKey(data)


def format_static_key(key: StaticKey) -> str:
    """The file of a key."""
    rows = "\n".join(key.data[at : at + 16].hex() for at in range(0, KEY_SIZE, 16))
    return f"-----BEGIN OpenVPN Static key V1-----\n{rows}\n-----END OpenVPN Static key V1-----\n"


def parse_client_key(text: str, where: str) -> ClientKey:
    """The key in a tls-crypt-v2 client's file. Raises LocalError."""
    found = _CLIENT.search(text)
    if not found:
        raise LocalError(f"{where}: expected a file with -----BEGIN OpenVPN tls-crypt-v2 client key-----")
    try:
        data = b64decode("".join(found[1].split()), validate=True)
    except ValueError:
        raise LocalError(f"{where}: the tls-crypt-v2 key is not base64") from None
    wrapped = data[KEY_SIZE:]
    if not KEY_SIZE < len(wrapped) <= LARGEST_WRAPPED or int.from_bytes(wrapped[-2:], "big") != len(wrapped):
        raise LocalError(f"{where}: the tls-crypt-v2 key is cut off or has something behind it")
    return ClientKey(StaticKey(data[:KEY_SIZE]), wrapped)


def format_client_key(key: ClientKey) -> str:
    """The file of a tls-crypt-v2 client's key."""
    text = b64encode(key.key.data + key.wrapped).decode()
    rows = "\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return f"-----BEGIN OpenVPN tls-crypt-v2 client key-----\n{rows}\n-----END OpenVPN tls-crypt-v2 client key-----\n"


def parse_server_key(text: str, where: str) -> StaticKey:
    """The half of a key in a tls-crypt-v2 server's file. Raises LocalError."""
    found = _SERVER.search(text)
    try:
        data = b64decode("".join(found[1].split()), validate=True) if found else b""
    except ValueError:
        data = b""
    if len(data) != KEY_SIZE // 2:
        raise LocalError(f"{where}: expected 128 bytes of -----BEGIN OpenVPN tls-crypt-v2 server key-----")
    return StaticKey(data)
