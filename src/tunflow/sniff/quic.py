"""The name in a QUIC connection's first packets, which are encrypted with keys that everybody can compute.

    1  header form (1), fixed bit (1), type (2 bits), reserved (2), packet number length - 1 (2)
    4  version | 1+n destination connection id | 1+n source connection id | varint+n token | varint length
    1..4  packet number, then the payload: both protected

Rules:
- Keys come from the destination connection id of the client's first Initial (RFC 9001 §5.2); version 2 has its own
  salt, labels and type numbers (RFC 9369 §3.2 and §3.3).
- A ClientHello may take several packets, in any order, its CRYPTO frames may be cut and shuffled (browsers do so on
  purpose), and a datagram may hold several packets (RFC 9000 §12.2).
- A server may ask for a second ClientHello (HelloRetryRequest, RFC 9001 §4.7), which comes behind the first in the same
  stream, and may go by the name in that.
- What does not decrypt is not a client's Initial: padding behind it, another packet type, or garbage.
- A client may open one connection after the other between the same two addresses and ports, also before the first has
  said its name, so each is put together by itself (`FlowSniffer`).

Read first: RFC 9000 §17.2.2 and §19.6, RFC 9001 §5, RFC 9369.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket
from tunflow.sniff.tls import LARGEST, ClientHello, parse_message_untrusted

SMALLEST_DATAGRAM = 1200
"""RFC 9000 §14.1: a client's datagram with an Initial has at least this many bytes."""

PIECES = 256
"""CRYPTO frames kept at most."""

DATAGRAMS = 12
"""That a ClientHello may take; browsers need one or two."""

CONNECTIONS = 8
"""Of one flow that have begun and not said their name yet; browsers have one or two. So many that have said it may say
another one."""

LONG_HEADER = 0x80
"""The first bit of a packet that may open a connection (RFC 9000 §17.2). The second may be anything (RFC 9287)."""

_SAMPLE = 16
_TAG = 16
_LONGEST_ID = 20
_PADDING, _PING, _ACK, _ACK_ECN, _CRYPTO, _CLOSE = 0, 1, 2, 3, 6, 0x1C


class Unreadable(BadPacket):
    """A client's first packets, in which a name may be hidden that we cannot find."""


class _Version(NamedTuple):
    salt: bytes
    prefix: bytes
    initial: int
    """The packet type of an Initial."""


_DRAFT_29 = _Version(bytes.fromhex("afbfec289993d24c9e9786f19c6111e04390a899"), b"quic ", 0b00)
_ONE = _Version(bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a"), b"quic ", 0b00)
VERSIONS = {
    1: _ONE,
    0x6B3343CF: _Version(bytes.fromhex("0dede3def700a6db819381be6e269dcbf9bd2ed9"), b"quicv2 ", 0b01),
    **dict.fromkeys(range(0xFF00001D, 0xFF000021), _DRAFT_29),
    **dict.fromkeys((0xFF000021, 0xFF000022), _ONE),
}
"""RFC 9001 §5.2; RFC 9369 §3.1, §3.2, §3.3.1 and §3.3.2; draft-ietf-quic-tls-29 §5.2, which holds until 32."""

_TRIALS = (b"\xff\0\0", b"Q0", b"T0", b"\xfa\xce\xb0", b"PCQ", b"\xab\xcd\0", b"\x91\xc1\x70", b"\x70\x9a\x50")
"""How versions begin that were for trials, as their owners told QUIC's working group (its wiki's "QUIC versions"):
drafts, Google's, Facebook's, picoquic's, Microsoft's, quicly's, drafts of version 2."""
_NEGOTIATES = 0x0A0A0A0A
"""RFC 9000 §15: versions of the pattern 0x?a?a?a?a are nobody's, and a server declines them."""


QUIC_PORT = 443
"""Of HTTP/3 (RFC 9114 §3.1.1)."""
LONGEST_LOOK = 5
"""Bytes of a datagram that `may_open` looks at."""


def may_open(datagram: Buffer, anywhere: bool) -> bool:
    """Return True if a datagram may open a QUIC connection.

    `anywhere`: it goes to another port than QUIC's own, where only known versions count.
    """
    if not datagram or datagram[0] < LONG_HEADER:
        return False
    if not anywhere:
        return True
    version = bytes(datagram[1:5])
    return int.from_bytes(version, "big") in VERSIONS or version.startswith(_TRIALS)


class _Keys:
    """What protects a client's Initial packets."""

    __slots__ = ("_aead", "_iv", "_mask")

    def __init__(self, version: _Version, connection_id: bytes) -> None:
        initial = hmac.digest(version.salt, connection_id, hashlib.sha256)
        secret = expand_label(initial, b"client in", 32)
        self._aead = AESGCM(expand_label(secret, version.prefix + b"key", 16))
        self._iv = expand_label(secret, version.prefix + b"iv", 12)
        self._mask = Cipher(AES(expand_label(secret, version.prefix + b"hp", 16)), ECB())  # noqa: S305 (RFC 9001 §5.4.3)

    def open_untrusted(self, packet: bytes, number_at: int) -> bytes:
        """The payload of a packet whose number stands at `number_at`. Raises BadPacket."""
        sample = packet[number_at + 4 : number_at + 4 + _SAMPLE]
        if len(sample) < _SAMPLE:
            raise BadPacket("a QUIC packet that is too short")
        mask = self._mask.encryptor().update(sample)
        first = packet[0] ^ (mask[0] & 0x0F)
        width = (first & 3) + 1
        number = bytes(a ^ b for a, b in zip(packet[number_at : number_at + width], mask[1:], strict=False))
        header = bytes((first,)) + packet[1:number_at] + number
        nonce = (int.from_bytes(self._iv, "big") ^ int.from_bytes(number, "big")).to_bytes(12, "big")
        try:
            return self._aead.decrypt(nonce, packet[number_at + width :], header)
        except InvalidTag as error:
            raise BadPacket("not a client's first QUIC packet") from error


def expand_label(secret: bytes, label: bytes, size: int) -> bytes:
    """HKDF-Expand-Label with SHA-256 and no context (RFC 8446 §7.1), up to 32 bytes: one block of RFC 5869 §2.3."""
    label = b"tls13 " + label
    info = size.to_bytes(2, "big") + bytes((len(label),)) + label + b"\0"
    return hmac.digest(secret, info + b"\1", hashlib.sha256)[:size]


class FlowSniffer:
    """The ClientHellos of all connections of one flow. It is bounded: a flow beyond `CONNECTIONS` or `DATAGRAMS` hides
    something, or nobody's."""

    def __init__(self) -> None:
        self._begun: dict[bytes, InitialSniffer] = {}
        """Connections that have not said their name, by the version and the connection id of their first packet."""
        self._said: dict[bytes, InitialSniffer] = {}
        """Those that have, the latest last."""

    def receive_untrusted(self, datagram: bytes) -> ClientHello | None:
        """The ClientHello that this datagram completes; None while a connection's is not whole.

        Raises BadPacket when it tells nothing: no Initial, or a later one of a connection that has said its name.
        Raises Unreadable for what hides a name.
        """
        _, end = _bytes_untrusted(datagram, 5)
        first_id = datagram[1:end]
        known = self._begun.get(first_id) or self._said.get(first_id)
        for sniffer in (known or InitialSniffer(), *self._begun.values(), *self._said.values()):
            # The others: once the server has answered a client uses the server's connection id, with its first keys.
            try:
                hello = sniffer.receive_untrusted(datagram)
                break
            except Unreadable:
                raise
            except BadPacket:
                continue
        else:
            raise BadPacket("not a client's first QUIC packet")
        if sniffer in self._said.values():
            if hello is None or not sniffer.is_second:
                raise BadPacket("a later packet of a connection")
            return hello
        if hello is not None:
            first_id = next((key for key, each in self._begun.items() if each is sniffer), first_id)
            self._begun.pop(first_id, None)
            self._said[first_id] = sniffer
            if len(self._said) > CONNECTIONS:
                del self._said[next(iter(self._said))]
            return hello
        if sniffer not in self._begun.values():
            if len(self._begun) >= CONNECTIONS:
                raise Unreadable("many connections that do not tell their names")
            self._begun[first_id] = sniffer
        if sniffer.datagrams >= DATAGRAMS:
            raise Unreadable("a connection that does not tell its name")
        return None


class InitialSniffer:
    """Puts a client's ClientHello together from the datagrams of one connection."""

    def __init__(self) -> None:
        self._keys: _Keys | None = None
        self._pieces: dict[int, bytes] = {}
        self.is_second = False
        """True if a second ClientHello came, for which the server asked."""
        self.datagrams = 0
        """Those that belong to it."""

    def receive_untrusted(self, datagram: bytes) -> ClientHello | None:
        """The ClientHello, once enough has arrived; None while more is needed. Raises BadPacket.

        BadPacket means that this datagram tells nothing: it is not QUIC, or its version only asks for others. Raises
        Unreadable for a version that nobody here knows.
        """
        at = 0
        opened = 0
        while at < len(datagram) and datagram[at] >= LONG_HEADER:
            try:
                payload, at = self._packet_untrusted(datagram, at)
            except Unreadable:
                raise
            except BadPacket:
                if not opened:
                    raise
                break  # what comes behind may be 0-RTT, or anything (RFC 9000 §12.2)
            if payload is not None:
                opened += 1
                self._frames_untrusted(payload)
        if not opened:
            raise BadPacket("not a client's first QUIC packet")
        self.datagrams += 1
        message = self._contiguous()
        try:
            hello = parse_message_untrusted(message)
            if hello is not None and len(message) > (size := 4 + int.from_bytes(message[1:4], "big")):
                second = parse_message_untrusted(message[size:])
                self.is_second = second is not None
                hello = second or hello
        except BadPacket as error:
            raise Unreadable(str(error)) from error
        return hello

    def _packet_untrusted(self, datagram: bytes, start: int) -> tuple[bytes | None, int]:
        """The payload of the packet at `start`, None if it is no Initial; and where the next begins."""
        connection_id, at = _bytes_untrusted(datagram, start + 5)
        _, at = _bytes_untrusted(datagram, at)
        number = int.from_bytes(datagram[start + 1 : start + 5], "big")
        version = VERSIONS.get(number)
        if version is None:
            if start or len(datagram) < SMALLEST_DATAGRAM or not number or number & 0x0F0F0F0F == _NEGOTIATES:
                raise BadPacket("not a client's first QUIC packet")
            raise Unreadable("a version of QUIC that nobody here knows")
        is_initial = datagram[start] >> 4 & 3 == version.initial
        if is_initial:
            size, at = _varint_untrusted(datagram, at)
            at += size
        length, at = _varint_untrusted(datagram, at)
        end = at + length
        if end > len(datagram):
            raise BadPacket("a QUIC packet that ends behind its datagram")
        if not is_initial:
            return None, end
        if start and connection_id != _bytes_untrusted(datagram, 5)[0]:
            raise Unreadable("connections of two ids in one datagram")  # RFC 9000 §12.2: nobody may send that
        if self._keys is None:
            self._keys = _Keys(version, connection_id)
        try:
            return self._keys.open_untrusted(datagram[start:end], at - start), end
        except BadPacket:
            return None, end  # a server drops the packet alone, and opens what comes behind it by the same keys

    def _frames_untrusted(self, payload: bytes) -> None:
        at = 0
        while at < len(payload):
            kind = payload[at]
            at += 1
            if kind == _PADDING:
                at = len(payload) - len(payload[at:].lstrip(b"\0"))
            elif kind == _CRYPTO:
                offset, at = _varint_untrusted(payload, at)
                size, at = _varint_untrusted(payload, at)
                if at + size > len(payload):
                    raise BadPacket("a CRYPTO frame that ends behind its packet")
                self._keep_untrusted(offset, payload[at : at + size])
                at += size
            elif kind in {_ACK, _ACK_ECN}:
                at = _behind_ack_untrusted(payload, at, kind)
            elif kind != _PING:
                # RFC 9000 §12.4: the only other is CONNECTION_CLOSE, and then there is nothing to come.
                raise BadPacket("a frame that is not in a client's first packets")

    def _keep_untrusted(self, offset: int, piece: bytes) -> None:
        if offset + len(piece) > LARGEST or len(self._pieces) >= PIECES:
            raise Unreadable("more than a ClientHello")
        end = offset + len(piece)
        for at, other in self._pieces.items():
            start, behind = max(at, offset), min(at + len(other), end)
            if start < behind and piece[start - offset : behind - offset] != other[start - at : behind - at]:
                raise Unreadable("a ClientHello that says two things")  # RFC 9000 §2.2: it may be an error, or not
        if len(piece) > len(self._pieces.get(offset, b"")):
            self._pieces[offset] = piece

    def _contiguous(self) -> bytes:
        """What there is from the start to the first gap."""
        whole = bytearray()
        for offset, piece in sorted(self._pieces.items()):
            if offset > len(whole):
                break
            whole[offset : offset + len(piece)] = piece
        return bytes(whole)


def _bytes_untrusted(data: bytes, at: int) -> tuple[bytes, int]:
    """A connection id with its length in front, and where the next field begins."""
    size = data[at] if at < len(data) else _LONGEST_ID + 1
    end = at + 1 + size
    if size > _LONGEST_ID or end > len(data):
        raise BadPacket("a connection id that is too long")
    return data[at + 1 : end], end


def _varint_untrusted(data: bytes, at: int) -> tuple[int, int]:
    """A number (RFC 9000 §16), and where the next field begins."""
    if at >= len(data):
        raise BadPacket("a QUIC packet that ends within a field")
    end = at + (1 << (data[at] >> 6))
    if end > len(data):
        raise BadPacket("a QUIC packet that ends within a field")
    return int.from_bytes(data[at:end], "big") & ((1 << (8 * (end - at) - 2)) - 1), end


def _behind_ack_untrusted(payload: bytes, at: int, kind: int) -> int:
    """Where the frame behind an ACK begins (RFC 9000 §19.3)."""
    _, at = _varint_untrusted(payload, at)  # largest acknowledged
    _, at = _varint_untrusted(payload, at)  # delay
    ranges, at = _varint_untrusted(payload, at)
    if ranges > len(payload):
        raise BadPacket("an ACK with more ranges than bytes")
    for _ in range(1 + 2 * ranges + (3 if kind == _ACK_ECN else 0)):
        _, at = _varint_untrusted(payload, at)
    return at
