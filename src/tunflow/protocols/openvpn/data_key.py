"""The data channel under one key: IP packets sealed and opened, replays dropped.

Formats: AEAD with a packet id of 32 bits; AEAD with epochs (`data_epochs`); CBC and an HMAC, for old servers.
Read first: openvpn-rfc, "Data channel".
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket, LocalError
from tunflow.protocols.openvpn.packet import Opcode
from tunflow.protocols.replay_window import ReplayWindow

TAG = 16
WORN = 1 << 29
"""Packets under one AES-GCM key after which a new one is asked for: 2^36 blocks of 16 bytes, in packets of 1,500 bytes
and more (RFC 9001 appendix B.1 has the reasoning)."""
LAST = 0xFF000000
"""No packet is sent under an id beyond: ids never repeat under a key."""
LARGEST_OVERHEAD = 40 + 8 + 32
"""Bytes that a datagram has more than the packet in it, at most, with an AEAD: IPv6, UDP, head, id and tag."""
NO_PEER = 0xFFFFFF
"""The peer id of who was given none (openvpn-rfc: such a peer sends DATA_V1)."""
DEFAULT_CIPHERS = ("AES-256-GCM", "AES-128-GCM", "CHACHA20-POLY1305")

_HEAD_V2 = struct.Struct("!II")
_ID = struct.Struct("!I")
_BODY = _HEAD_V2.size + TAG
"""Where the ciphertext of a DATA_V2 begins."""


class DirectionKeys(NamedTuple):
    """64 bytes for the cipher and 64 for an HMAC or an IV, of which the first so many are used."""

    cipher: bytes
    hmac: bytes


class AEAD(Protocol):
    """What the AEAD classes of `cryptography` have in common."""

    def encrypt(self, nonce: Buffer, data: Buffer, associated_data: Buffer | None, /) -> bytes:
        """Ciphertext and tag."""

    def decrypt(self, nonce: Buffer, data: Buffer, associated_data: Buffer | None, /) -> bytes:
        """Plaintext. Raises InvalidTag."""


_AEADS: dict[str, tuple[Callable[[bytes], AEAD], int]] = {
    "AES-128-GCM": (AESGCM, 16),
    "AES-192-GCM": (AESGCM, 24),
    "AES-256-GCM": (AESGCM, 32),
    "CHACHA20-POLY1305": (ChaCha20Poly1305, 32),
}
_CBCS = {"AES-128-CBC": 16, "AES-192-CBC": 24, "AES-256-CBC": 32}
CIPHERS = (*_AEADS, *_CBCS)
"""Names that this end can be told to use."""
DIGESTS = {"SHA1": "sha1", "SHA224": "sha224", "SHA256": "sha256", "SHA384": "sha384", "SHA512": "sha512"}
"""OpenVPN's names of `auth` digests, and hashlib's."""


class DataKey(Protocol):
    """Seals what one end sends under a key, and opens what the other sent."""

    def seal(self, packets: Sequence[Buffer]) -> list[bytes]:
        """Packets for the wire; fewer when the key must not be used any more."""

    def open_untrusted(self, packet: bytes) -> bytes:
        """The payload. Raises BadPacket for what does not authenticate or was seen."""

    def open_all_untrusted(self, packets: Sequence[bytes]) -> list[bytes]:
        """The payloads of those that authenticate and are new."""

    @property
    def is_worn(self) -> bool:
        """True if a new key should be agreed on."""


def open_each_untrusted(key: DataKey, packets: Sequence[bytes]) -> list[bytes]:
    """What `DataKey.open_all_untrusted` gives, one packet at a time."""
    out = []
    for packet in packets:
        with suppress(BadPacket):
            out.append(key.open_untrusted(packet))
    return out


def halves(keys: bytes, *, server: bool) -> tuple[DirectionKeys, DirectionKeys]:
    """What this end sends with, and what it receives with, of 256 bytes of keys."""
    client = DirectionKeys(keys[:64], keys[64:128])
    other = DirectionKeys(keys[128:192], keys[192:256])
    return (other, client) if server else (client, other)


def aead_of(cipher: str) -> tuple[Callable[[bytes], AEAD], int]:
    """The class of an AEAD and its key's size. Raises LocalError for a cipher that is none."""
    if cipher not in _AEADS:
        raise LocalError(f"cipher {cipher} is no AEAD: {', '.join(_AEADS)} are")
    return _AEADS[cipher]


def is_aead(cipher: str) -> bool:
    """Return True if packets under this cipher need no HMAC of their own."""
    return cipher in _AEADS


def head_size_untrusted(packet: bytes) -> int:
    """Bytes before the packet id. Raises BadPacket for what is no data packet."""
    opcode = packet[0] >> 3 if packet else 0
    if opcode == Opcode.DATA_V2:
        return 4
    if opcode == Opcode.DATA_V1:
        return 1
    raise BadPacket("no data packet")


class AEADKey:
    """DATA_V2: `head 4 | packet id 4 | tag 16 | ciphertext`; DATA_V1: one byte of head, not authenticated."""

    def __init__(self, cipher: str, key_id: int, peer_id: int, send: DirectionKeys, receive: DirectionKeys) -> None:
        """`peer_id` is NO_PEER without one. Raises LocalError for a cipher that is no AEAD."""
        make, size = aead_of(cipher)
        self._encrypt = make(send.cipher[:size]).encrypt
        self._decrypt = make(receive.cipher[:size]).decrypt
        self._send_iv = send.hmac[:8]
        self._receive_iv = receive.hmac[:8]
        self._v2 = peer_id != NO_PEER
        self._head = (Opcode.DATA_V2 << 3 | key_id) << 24 | peer_id if self._v2 else Opcode.DATA_V1 << 3 | key_id
        self._sent = 0
        self._seen = ReplayWindow(first=1)

    def seal(self, packets: Sequence[Buffer]) -> list[bytes]:
        """As the method of `DataKey`."""
        encrypt, iv, head, pack = self._encrypt, self._send_iv, self._head, _HEAD_V2.pack
        number = self._sent
        packets = packets[: max(LAST - number, 0)]
        out = []
        if not self._v2:
            return self._seal_v1(packets)
        for packet in packets:
            number += 1
            start = pack(head, number)
            sealed = encrypt(start[4:] + iv, packet, start)
            out.append(b"".join((start, sealed[-TAG:], sealed[:-TAG])))
        self._sent = number
        return out

    def _seal_v1(self, packets: Sequence[Buffer]) -> list[bytes]:
        out = []
        for packet in packets:
            self._sent += 1
            number = _ID.pack(self._sent)
            sealed = self._encrypt(number + self._send_iv, packet, number)
            out.append(b"".join((bytes([self._head]), number, sealed[-TAG:], sealed[:-TAG])))
        return out

    def open_untrusted(self, packet: bytes) -> bytes:
        """As the method of `DataKey`."""
        at = head_size_untrusted(packet)
        if len(packet) < at + 4 + TAG:
            raise BadPacket("a data packet too short for its tag")
        id_bytes = packet[at : at + 4]
        number = int.from_bytes(id_bytes, "big")
        if not self._seen.is_new(number):
            raise BadPacket("a data packet that was seen before")
        body = at + 4 + TAG
        try:
            plain = self._decrypt(
                id_bytes + self._receive_iv, packet[body:] + packet[at + 4 : body], packet[:8] if at == 4 else id_bytes
            )
        except InvalidTag:
            raise BadPacket("a data packet that does not authenticate") from None
        self._seen.add(number)
        return plain

    def open_all_untrusted(self, packets: Sequence[bytes]) -> list[bytes]:
        """As the method of `DataKey`: what comes in order is looked at least."""
        if not self._v2:
            return open_each_untrusted(self, packets)
        decrypt, iv, seen, least = self._decrypt, self._receive_iv, self._seen, _BODY
        expected, in_order = seen.next, 0
        out = []
        for packet in packets:
            id_bytes = packet[4:8]
            if int.from_bytes(id_bytes, "big") == expected and len(packet) >= least:
                try:
                    out.append(decrypt(id_bytes + iv, packet[least:] + packet[8:least], packet[:8]))
                except InvalidTag:
                    continue
                expected += 1
                in_order += 1
                continue
            seen.add_next(in_order)
            out += open_each_untrusted(self, (packet,))
            expected, in_order = seen.next, 0
        seen.add_next(in_order)
        return out

    @property
    def is_worn(self) -> bool:
        """As `DataKey.is_worn`."""
        return self._sent >= WORN


class CBCKey:
    """`head | HMAC | IV 16 | AES-CBC(packet id 4 | payload)`, the HMAC over IV and ciphertext."""

    def __init__(
        self,
        cipher: str,
        digest: str,
        key_id: int,
        peer_id: int,
        keys: tuple[DirectionKeys, DirectionKeys],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        """`digest` by hashlib's name; `keys` are those to send and to receive with. Raises LocalError."""
        if cipher not in _CBCS:
            raise LocalError(f"cipher {cipher} is not known: {', '.join(CIPHERS)} are")
        send, receive = keys
        size, self._size = _CBCS[cipher], len(hmac.digest(b"", b"", digest))
        self._digest = digest
        self._send = (algorithms.AES(send.cipher[:size]), send.hmac[: self._size])
        self._receive = (algorithms.AES(receive.cipher[:size]), receive.hmac[: self._size])
        self._random_bytes = random_bytes
        if peer_id == NO_PEER:
            self._head = bytes([Opcode.DATA_V1 << 3 | key_id])
        else:
            self._head = _ID.pack((Opcode.DATA_V2 << 3 | key_id) << 24 | peer_id)
        self._sent = 0
        self._seen = ReplayWindow(first=1)

    def seal(self, packets: Sequence[Buffer]) -> list[bytes]:
        """As the method of `DataKey`."""
        out = []
        for packet in packets[: max(LAST - self._sent, 0)]:
            self._sent += 1
            plain = _ID.pack(self._sent) + packet
            padding = 16 - len(plain) % 16
            iv = self._random_bytes(16)
            encryptor = Cipher(self._send[0], modes.CBC(iv)).encryptor()
            sealed = iv + encryptor.update(plain + bytes([padding]) * padding)
            out.append(b"".join((self._head, hmac.digest(self._send[1], sealed, self._digest), sealed)))
        return out

    def open_untrusted(self, packet: bytes) -> bytes:
        """As the method of `DataKey`."""
        at = head_size_untrusted(packet)
        tag, sealed = packet[at : at + self._size], packet[at + self._size :]
        if len(sealed) < 32 or len(sealed) % 16:
            raise BadPacket("a data packet of a length that CBC does not give")
        if not hmac.compare_digest(tag, hmac.digest(self._receive[1], sealed, self._digest)):
            raise BadPacket("a data packet that does not authenticate")
        plain = Cipher(self._receive[0], modes.CBC(sealed[:16])).decryptor().update(sealed[16:])
        padding = plain[-1]
        number = int.from_bytes(plain[:4], "big")
        if not 1 <= padding <= 16 or len(plain) < 4 + padding or not self._seen.is_new(number):
            raise BadPacket("a data packet that was seen before, or is padded wrongly")
        self._seen.add(number)
        return plain[4 : len(plain) - padding]

    def open_all_untrusted(self, packets: Sequence[bytes]) -> list[bytes]:
        """As the method of `DataKey`."""
        return open_each_untrusted(self, packets)

    @property
    def is_worn(self) -> bool:
        """As `DataKey.is_worn`."""
        return self._sent >= WORN
