"""mac1, mac2 and cookies: what keeps strangers from making a responder compute.

Without a right mac1, which needs the responder's public key, nothing is answered. Under load a message needs a right
mac2 as well, whose key (the cookie) is sent to the address that the message came from.

Read first: the paper, §5.3 and §5.4.4, §5.4.7.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Callable

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError

from tunflow.endpoint import Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols.wireguard.messages import KIND, MACS_SIZE, CookieReply
from tunflow.protocols.wireguard.noise import LABEL_COOKIE, LABEL_MAC1, MAC_SIZE, digest, mac

COOKIE_LIFE = 120.0
"""Seconds that a cookie is good for, and after which a responder's secret changes."""
NO_MAC = bytes(MAC_SIZE)
_INDEX = struct.Struct("<I")
_SECRET_SIZE = 32
_NONCE_SIZE = 24


class CookieJar:
    """What an end that sends to one peer knows: its mac key, and its last cookie."""

    __slots__ = ("_asked", "_cookie", "_cookie_at", "_cookie_key", "_mac1_key")

    def __init__(self, peer_public: bytes) -> None:
        self._mac1_key = digest(LABEL_MAC1, peer_public)
        self._cookie_key = digest(LABEL_COOKIE, peer_public)
        self._cookie = b""
        self._cookie_at = 0.0
        self._asked = b""
        """mac1 of the last message sent, which a cookie reply must answer."""

    def signed(self, message: bytes, now: float) -> bytes:
        """A handshake message with its two macs."""
        self._asked = mac(self._mac1_key, message)
        whole = message + self._asked
        is_fresh = self._cookie and now - self._cookie_at < COOKIE_LIFE
        return whole + (mac(self._cookie, whole) if is_fresh else NO_MAC)

    def take_untrusted(self, reply: CookieReply, now: float) -> None:
        """Keep the cookie of a reply to the last message. Raises BadPacket."""
        if not self._asked:
            raise BadPacket("a cookie that was not asked for")
        try:
            cookie = crypto_aead_xchacha20poly1305_ietf_decrypt(
                reply.cookie, self._asked, reply.nonce, self._cookie_key
            )
        except CryptoError:
            raise BadPacket("a cookie that does not authenticate") from None
        self._cookie, self._cookie_at, self._asked = cookie, now, b""


class CookieGuard:
    """What a responder asks of messages. `random` gives that many random bytes."""

    def __init__(self, public: bytes, random: Callable[[int], bytes]) -> None:
        self._mac1_key = digest(LABEL_MAC1, public)
        self._cookie_key = digest(LABEL_COOKIE, public)
        self._random = random
        self._secret = b""
        self._secret_at = 0.0

    def has_mac1(self, message: bytes) -> bool:
        """Return True if the sender knows our public key."""
        end = len(message) - MACS_SIZE
        return hmac.compare_digest(mac(self._mac1_key, message[:end]), message[end : end + MAC_SIZE])

    def has_mac2(self, message: bytes, source: Endpoint, now: float) -> bool:
        """Return True if the sender got a cookie at this address, lately."""
        if not self._secret or now - self._secret_at >= COOKIE_LIFE:
            return False
        end = len(message) - MAC_SIZE
        return hmac.compare_digest(mac(self._cookie(source), message[:end]), message[end:])

    def reply(self, message: bytes, source: Endpoint, now: float) -> bytes:
        """The cookie reply to a message whose mac1 is right."""
        if not self._secret or now - self._secret_at >= COOKIE_LIFE:
            self._secret, self._secret_at = self._random(_SECRET_SIZE), now
        nonce = self._random(_NONCE_SIZE)
        end = len(message) - MACS_SIZE
        sealed = crypto_aead_xchacha20poly1305_ietf_encrypt(
            self._cookie(source), message[end : end + MAC_SIZE], nonce, self._cookie_key
        )
        (sender,) = _INDEX.unpack_from(message, KIND.size)
        return CookieReply(sender, nonce, sealed).pack()

    def _cookie(self, source: Endpoint) -> bytes:
        host = source.host if isinstance(source.host, bytes) else source.host.encode()
        return mac(self._secret, host + source.port.to_bytes(2, "big"))
