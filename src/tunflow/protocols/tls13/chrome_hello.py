"""A ClientHello with what Chrome's has (version 131 and later), in an order drawn anew each time, as Chrome does.

What is offered and not spoken (TLS 1.2 with its suites, compressed certificates, tickets) is there because Chrome
offers it; a server that takes it up is refused by who reads its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from tunflow.errors import BadPacket

X25519 = 0x001D
X25519_MLKEM768 = 0x11EC
SESSION_ID = 4 + 2 + 32 + 1
"""Where the session id stands in the message."""
SESSION_ID_SIZE = 32
_GROUPS = (X25519_MLKEM768, X25519, 0x0017, 0x0018)
_SUITES = (
    0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0xC013, 0xC014, 0x009C, 0x009D, 0x002F,
    0x0035,
)  # fmt: skip
_SIGNATURES = (0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601)
_CIPHERTEXT = 1088
"""Bytes of ML-KEM-768's answer."""


class ChromeHello:
    """The message (`raw`, a handshake message with its head), and the keys that belong to it."""

    __slots__ = ("_hybrid", "_mlkem", "raw", "x25519")

    def __init__(self, name: str | None, alpn: Sequence[str], random_bytes: Callable[[int], bytes]) -> None:
        """`name` is the server's, None for none. The session id is zeros."""
        self.x25519 = X25519PrivateKey.from_private_bytes(random_bytes(32))
        """The key of the plain share."""
        self._hybrid = X25519PrivateKey.from_private_bytes(random_bytes(32))
        self._mlkem = MLKEM768PrivateKey.from_seed_bytes(random_bytes(64))
        first, second, suite, group, version = (_grease(random_bytes) for _ in range(5))
        if second == first:
            second ^= 0x1010
        extensions = [
            _extension(first, b""),
            *_shuffled(self._extensions(name, alpn, group, version, random_bytes), random_bytes),
            _extension(second, b"\0"),
        ]
        body = b"".join(
            (
                b"\x03\x03",
                random_bytes(32),
                _sized(1, bytes(SESSION_ID_SIZE)),
                _sized(2, _numbers((suite, *_SUITES))),
                b"\x01\x00",
                _sized(2, b"".join(extensions)),
            )
        )
        self.raw = b"\x01" + _sized(3, body)

    @property
    def random(self) -> bytes:
        """Its 32 random bytes."""
        return self.raw[6:38]

    @property
    def session_id(self) -> bytes:
        """Its 32 bytes."""
        return self.raw[SESSION_ID : SESSION_ID + SESSION_ID_SIZE]

    def use_session_id(self, session_id: bytes) -> None:
        """Put another one in."""
        self.raw = self.raw[:SESSION_ID] + session_id + self.raw[SESSION_ID + SESSION_ID_SIZE :]

    def shared_secret_untrusted(self, group: int, share: bytes) -> bytes:
        """The secret by a server's share. Raises BadPacket."""
        try:
            if group == X25519:
                return self.x25519.exchange(X25519PublicKey.from_public_bytes(share))
            if group == X25519_MLKEM768 and len(share) == _CIPHERTEXT + 32:
                other = self._hybrid.exchange(X25519PublicKey.from_public_bytes(share[_CIPHERTEXT:]))
                return self._mlkem.decapsulate(share[:_CIPHERTEXT]) + other
        except ValueError:
            pass
        raise BadPacket(f"TLS: the server's share of the key exchange ({group:#06x}) is none of ours")

    def _extensions(
        self, name: str | None, alpn: Sequence[str], group: int, version: int, random_bytes: Callable[[int], bytes]
    ) -> list[bytes]:
        plain = self.x25519.public_key().public_bytes_raw()
        hybrid = self._mlkem.public_key().public_bytes_raw() + self._hybrid.public_key().public_bytes_raw()
        shares = [(group, b"\0"), (X25519_MLKEM768, hybrid), (X25519, plain)]
        names = b"".join(_sized(1, each.encode()) for each in alpn)
        made = [
            _extension(23, b""),  # extended_master_secret
            _extension(0xFF01, b"\0"),  # renegotiation_info
            _extension(10, _sized(2, _numbers((group, *_GROUPS)))),
            _extension(11, b"\x01\0"),  # ec_point_formats
            _extension(35, b""),  # session_ticket
            _extension(16, _sized(2, names)),
            _extension(5, b"\x01\0\0\0\0"),  # status_request
            _extension(13, _sized(2, _numbers(_SIGNATURES))),
            _extension(18, b""),  # signed_certificate_timestamp
            _extension(51, _sized(2, b"".join(_numbers((kind,)) + _sized(2, share) for kind, share in shares))),
            _extension(45, b"\x01\x01"),  # psk_key_exchange_modes
            _extension(43, _sized(1, _numbers((version, 0x0304, 0x0303)))),
            _extension(27, b"\x02\0\x02"),  # compress_certificate: brotli
            _extension(0x44CD, _sized(2, b"\x02h2")),  # application_settings
            _extension(0xFE0D, _encrypted_hello(random_bytes)),
        ]
        if name is not None:
            made.append(_extension(0, _sized(2, b"\0" + _sized(2, name.encode()))))
        return made


def _encrypted_hello(random_bytes: Callable[[int], bytes]) -> bytes:
    """What stands where an encrypted ClientHello would, when there is none (RFC 9849 §6.2)."""
    size = 144 + 32 * (random_bytes(1)[0] % 4)
    key = X25519PrivateKey.from_private_bytes(random_bytes(32)).public_key().public_bytes_raw()
    return b"\0\0\x01\0\x01" + random_bytes(1) + _sized(2, key) + _sized(2, random_bytes(size))


def _grease(random_bytes: Callable[[int], bytes]) -> int:
    """A number that means nothing (RFC 8701)."""
    return 0x0A0A + 0x1010 * (random_bytes(1)[0] % 16)


def _shuffled(items: list[bytes], random_bytes: Callable[[int], bytes]) -> list[bytes]:
    for last in range(len(items) - 1, 0, -1):
        other = int.from_bytes(random_bytes(4), "big") % (last + 1)
        items[last], items[other] = items[other], items[last]
    return items


def _extension(kind: int, data: bytes) -> bytes:
    return kind.to_bytes(2, "big") + _sized(2, data)


def _sized(width: int, data: bytes) -> bytes:
    return len(data).to_bytes(width, "big") + data


def _numbers(numbers: Sequence[int]) -> bytes:
    return b"".join(each.to_bytes(2, "big") for each in numbers)
