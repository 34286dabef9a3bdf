"""Salamander: each QUIC packet as noise, for networks that drop QUIC.

Read first: the Hysteria 2 protocol, "Salamander" (v2.hysteria.network/docs/developers/Protocol). A salt of 8 bytes, and
the packet XORed with the BLAKE2b-256 of password and salt, again and again. It hides, and protects nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

from tunflow.endpoint import Buffer

SALT = 8
_KEY = 32
SHORTEST_PASSWORD = 4


class Salamander:
    """Both directions under one password; `random_bytes` makes salts."""

    def __init__(self, password: str, random_bytes: Callable[[int], bytes]) -> None:
        self._password = password.encode()
        self._random_bytes = random_bytes

    def seal(self, packet: bytes) -> bytes:
        """A packet as it leaves: `SALT` bytes longer."""
        salt = self._random_bytes(SALT)
        return salt + self._mixed(salt, packet)

    def open_untrusted(self, datagram: Buffer) -> bytes | None:
        """The packet, which nothing vouches for; None where there is none."""
        data = bytes(datagram)
        return self._mixed(data[:SALT], data[SALT:]) if len(data) > SALT else None

    def _mixed(self, salt: bytes, data: bytes) -> bytes:
        key = blake2b(self._password + salt, digest_size=_KEY).digest()
        size = len(data)
        pad = (key * (size // _KEY + 1))[:size]
        return (int.from_bytes(data, "big") ^ int.from_bytes(pad, "big")).to_bytes(size, "big")
