"""How control packets are protected before TLS sees them: not at all, by tls-auth, by tls-crypt.

tls-crypt-v2 is tls-crypt under a key of the client's own, which the first packet brings along wrapped; dynamic
tls-crypt is tls-crypt under a key out of the TLS session, for renegotiations.

Rules: a packet that does not authenticate, or was seen, is a BadPacket and leaves no trace. A wrapping belongs to one
peer. Read first: openvpn-rfc, "tls-auth", "tls-crypt", "tls-crypt-v2".
"""

from __future__ import annotations

import hmac
import struct
from typing import Protocol

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tunflow.errors import BadPacket
from tunflow.protocols.openvpn.packet import SESSION_SIZE, Head
from tunflow.protocols.openvpn.replay import TimedReplayWindow
from tunflow.protocols.openvpn.static_key import KEY_SIZE, StaticKey

CLIENT_TO_SERVER = 1
SERVER_TO_CLIENT = 0
"""Which half of a static key protects which direction (key-direction 1 is the client's)."""
EARLY_NEGOTIATION = 0x0F000000
"""A first replay id in this range says that its sender can repeat its wrapped key (tls-crypt-v2 cookies)."""

_REPLAY = struct.Struct("!II")
_HEAD_SIZE = 1 + SESSION_SIZE
_TAG = 32


class Wrapping(Protocol):
    """Protects what one end sends, and opens what the other sent."""

    def wrap(self, head: Head, body: bytes, unix_time: int) -> bytes:
        """The packet for the wire. `unix_time` in whole seconds."""

    def unwrap_untrusted(self, packet: bytes) -> bytes:
        """The body behind a packet's head. Raises BadPacket."""


class Plain:
    """No protection but TLS's own."""

    def wrap(self, head: Head, body: bytes, unix_time: int) -> bytes:  # noqa: ARG002
        """The packet for the wire."""
        return head.pack() + body

    def unwrap_untrusted(self, packet: bytes) -> bytes:
        """The body. Raises BadPacket."""
        if len(packet) <= _HEAD_SIZE:
            raise BadPacket("a control packet without a body")
        return packet[_HEAD_SIZE:]


class TLSAuth:
    """tls-auth: an HMAC under a shared key, and no secrecy."""

    def __init__(self, key: StaticKey, digest: str, send: int, receive: int) -> None:
        """`digest` by hashlib's name. `send` and `receive`: halves of the key, the same one without a direction."""
        self._digest = digest
        self._send_key = key.hmac(send)[: _digest_size(digest)]
        self._receive_key = key.hmac(receive)[: _digest_size(digest)]
        self._size = _digest_size(digest)
        self._next = 1
        self._seen = TimedReplayWindow()

    def wrap(self, head: Head, body: bytes, unix_time: int) -> bytes:
        """The packet for the wire."""
        start = head.pack()
        replay = _REPLAY.pack(self._next, unix_time)
        self._next += 1
        tag = hmac.digest(self._send_key, replay + start + body, self._digest)
        return start + tag + replay + body

    def unwrap_untrusted(self, packet: bytes) -> bytes:
        """The body. Raises BadPacket."""
        at = _HEAD_SIZE + self._size
        if len(packet) < at + _REPLAY.size:
            raise BadPacket("too short for tls-auth")
        start, tag = packet[:_HEAD_SIZE], packet[_HEAD_SIZE:at]
        replay, body = packet[at : at + _REPLAY.size], packet[at + _REPLAY.size :]
        if not hmac.compare_digest(tag, hmac.digest(self._receive_key, replay + start + body, self._digest)):
            raise BadPacket("a control packet that tls-auth does not authenticate")
        _admit(self._seen, replay)
        return body


class TLSCrypt:
    """tls-crypt: encrypted and authenticated under a shared key, AES-256-CTR with a synthetic IV."""

    def __init__(self, key: StaticKey, send: int, receive: int, first_id: int = 1) -> None:
        self._send = (key.cipher(send)[:32], key.hmac(send)[:32])
        self._receive = (key.cipher(receive)[:32], key.hmac(receive)[:32])
        self._next = first_id
        self._seen = TimedReplayWindow()

    def wrap(self, head: Head, body: bytes, unix_time: int) -> bytes:
        """The packet for the wire."""
        start = head.pack() + _REPLAY.pack(self._next, unix_time)
        self._next += 1
        return start + _seal(*self._send, start, body)

    def unwrap_untrusted(self, packet: bytes) -> bytes:
        """The body. Raises BadPacket."""
        at = _HEAD_SIZE + _REPLAY.size
        if len(packet) < at + _TAG:
            raise BadPacket("too short for tls-crypt")
        body = _open(*self._receive, packet[:at], packet[at:])
        _admit(self._seen, packet[_HEAD_SIZE:at])
        return body


def wrap_client_key(server_key: StaticKey, client_key: StaticKey, metadata: bytes) -> bytes:
    """A tls-crypt-v2 client's key as only the server can read it. `metadata` begins with its type byte."""
    plain = client_key.data + metadata
    size = (_TAG + len(plain) + 2).to_bytes(2, "big")
    return _seal(server_key.cipher(0)[:32], server_key.hmac(0)[:32], size, plain) + size


def unwrap_client_key_untrusted(server_key: StaticKey, packet: bytes) -> tuple[StaticKey, bytes, bytes]:
    """The client's key at the end of a packet, the metadata with it, and the packet before it. Raises BadPacket."""
    size = int.from_bytes(packet[-2:], "big")
    if len(packet) < size or size < _TAG + KEY_SIZE + 2:
        raise BadPacket("no wrapped key at the end of the packet")
    wrapped = packet[len(packet) - size : -2]
    plain = _open(server_key.cipher(0)[:32], server_key.hmac(0)[:32], packet[-2:], wrapped)
    return StaticKey(plain[:KEY_SIZE]), plain[KEY_SIZE:], packet[: len(packet) - size]


def _seal(cipher_key: bytes, mac_key: bytes, associated: bytes, plain: bytes) -> bytes:
    """Tag and ciphertext."""
    tag = hmac.digest(mac_key, associated + plain, "sha256")
    encryptor = Cipher(algorithms.AES(cipher_key), modes.CTR(tag[:16])).encryptor()
    return tag + encryptor.update(plain)


def _open(cipher_key: bytes, mac_key: bytes, associated: bytes, sealed: bytes) -> bytes:
    tag = sealed[:_TAG]
    plain = Cipher(algorithms.AES(cipher_key), modes.CTR(tag[:16])).decryptor().update(sealed[_TAG:])
    if not hmac.compare_digest(tag, hmac.digest(mac_key, associated + plain, "sha256")):
        raise BadPacket("a control packet that tls-crypt does not authenticate")
    return plain


def _admit(seen: TimedReplayWindow, replay: bytes) -> None:
    packet_id, time = _REPLAY.unpack(replay)
    if not seen.is_new(time, packet_id):
        raise BadPacket("a control packet that was seen before")
    seen.add(time, packet_id)


def _digest_size(digest: str) -> int:
    return len(hmac.digest(b"", b"", digest))
