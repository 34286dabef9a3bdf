"""Shadowsocks datagrams, as a `DatagramCodec`; the two sides differ only in what the address means.

Read first: SIP004 ("UDP"). A datagram is `salt ‖ AEAD(address ‖ payload)` with an all-zero nonce, which is
sound because every salt, and so every key, is used once.
"""

from __future__ import annotations

from collections.abc import Callable

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols import address
from tunflow.protocols.shadowsocks.methods import TAG_SIZE, Method, invalid_tag
from tunflow.protocols.shadowsocks.replay import ReplayFilter


class Datagrams:
    """Seals and opens the datagrams under one key; keeps nothing of an association, so one serves them all.

    `new_salt(size)` gives that many fresh random bytes. `replay` remembers the salts of what was opened and
    of what was sealed: a replayed datagram is refused, and so is our own when it is sent back to us.
    """

    __slots__ = ("_key", "_method", "_new_salt", "_nonce", "_replay")

    def __init__(self, method: Method, key: bytes, new_salt: Callable[[int], bytes], replay: ReplayFilter) -> None:
        self._method = method
        self._key = key
        self._new_salt = new_salt
        self._replay = replay
        self._nonce = bytes(method.nonce_size)

    def seal(self, peer: Endpoint, payload: Buffer) -> bytes:
        """A datagram for `peer` (client side) or from it (server side) as it goes on the wire."""
        method = self._method
        salt = self._new_salt(method.salt_size)
        self._replay.admit(salt)
        plain = b"".join((address.encode(peer), payload))
        return salt + method.session(self._key, salt).encrypt(self._nonce, plain, None)

    def open_untrusted(self, datagram: Buffer) -> tuple[Endpoint, memoryview]:
        """The peer that a wire datagram is from (client side) or for (server side), and its payload.

        Raises BadPacket.
        """
        method = self._method
        view = memoryview(datagram)
        salt = bytes(view[: method.salt_size])
        sealed = view[method.salt_size :]
        if len(sealed) < TAG_SIZE:
            raise BadPacket("a Shadowsocks datagram is too short")
        try:
            plain = method.session(self._key, salt).decrypt(self._nonce, sealed, None)
        except invalid_tag() as error:
            raise BadPacket("a Shadowsocks datagram does not authenticate") from error
        if not self._replay.admit(salt):
            raise BadPacket("a Shadowsocks salt was seen before")
        parsed = address.parse_untrusted(plain)
        if parsed is None:
            raise BadPacket("a Shadowsocks datagram ends inside its address")
        peer, size = parsed
        return peer, memoryview(plain)[size:]
