"""One datagram of the 2022 edition: session, packet id and body, and the two ways to seal them.

Read first: SIP022 §3.2 (§3.2.2 AES, §3.2.5 ChaCha), SIP023 §2.3.

    AES       AES-ECB(session id 8 | packet id 8) | identities | AEAD(body), nonce = the last 12 bytes of the ids
    ChaCha    nonce 24 | XChaCha20-Poly1305(session id 8 | packet id 8 | body)
    body      type | timestamp 8 | [answers: client's session id 8] | padding length 2 | padding | address | payload
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple, Protocol

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols import address
from tunflow.protocols.shadowsocks.keys2022 import (
    BLOCK,
    Users,
    block_decryptor,
    block_encryptor,
    identity,
    session_subkey,
)
from tunflow.protocols.shadowsocks.methods import TAG_SIZE, Aead, Method, invalid_tag
from tunflow.protocols.shadowsocks.stream2022 import ANSWER, REQUEST, check_time

SESSION_SIZE = 8
IDS = struct.Struct("!8sQ")
_TIME = struct.Struct("!BQ")
_NONCE = 4
"""Where in the ids the nonce of the body begins: their last 12 bytes."""
"""SIP022 §3.2.2: the nonce is the last 12 bytes of the separate header."""
_XNONCE_SIZE = 24


class Ids(NamedTuple):
    """Whose packet it is, and which."""

    session: bytes
    packet: int


class Body(NamedTuple):
    """What a datagram carries. `client_session` is what an answer repeats; empty in a request."""

    peer: Endpoint
    payload: "memoryview"  # noqa: UP037 - mypyc 2.4 does not find the bare name in a field
    client_session: bytes


class PacketCipher(Protocol):
    """How ids and body are sealed under the keys of one client or server."""

    def seal(self, ids: Ids, body: Buffer) -> bytes:
        """The datagram."""

    def ids_untrusted(self, datagram: memoryview) -> Ids:
        """The ids in a datagram, before anything has authenticated (AES); cheap. Raises BadPacket."""

    def body_untrusted(self, datagram: memoryview, ids: Ids) -> bytes:
        """The body, which authenticates the ids. Raises BadPacket."""


class AESPackets:
    """AES: one cipher for each session, kept for the sessions in use by `forget`."""

    __slots__ = ("_bodies", "_decrypt", "_encrypt", "_identities", "_key", "_method")

    def __init__(self, method: Method, keys: tuple[bytes, ...]) -> None:
        self._method = method
        self._key = keys[-1]
        # SIP023 §2.3: the separate header of a request is under the first key, that of an answer under the user's.
        self._encrypt = block_encryptor(keys[0]).update
        self._decrypt = block_decryptor(keys[-1]).update
        self._identities = [
            (block_encryptor(key).update, int.from_bytes(identity(following), "big"))
            for key, following in pairwise(keys)
        ]
        self._bodies: dict[bytes, Aead] = {}

    def seal(self, ids: Ids, body: Buffer) -> bytes:
        """As `PacketCipher.seal`."""
        header = IDS.pack(*ids)
        plain = int.from_bytes(header, "big")
        identities = [encrypt((name ^ plain).to_bytes(BLOCK, "big")) for encrypt, name in self._identities]
        sealed = self._body_cipher(ids.session).encrypt(header[_NONCE:], body, None)
        return b"".join((self._encrypt(header), *identities, sealed))

    def ids_untrusted(self, datagram: memoryview) -> Ids:
        """As `PacketCipher.ids_untrusted`."""
        if len(datagram) < BLOCK + TAG_SIZE:
            raise BadPacket("a Shadowsocks datagram is too short")
        return Ids(*IDS.unpack(self._decrypt(datagram[:BLOCK])))

    def body_untrusted(self, datagram: memoryview, ids: Ids) -> bytes:
        """As `PacketCipher.body_untrusted`."""
        cipher = self._bodies.get(ids.session) or self._method.aead(session_subkey(self._key, ids.session))
        try:
            body = cipher.decrypt(IDS.pack(*ids)[_NONCE:], datagram[BLOCK:], None)
        except invalid_tag() as error:
            raise BadPacket("a Shadowsocks datagram does not authenticate") from error
        self._bodies[ids.session] = cipher  # only now: anybody can send session ids
        return body

    def forget(self, session: bytes) -> None:
        """The session is over."""
        self._bodies.pop(session, None)

    def _body_cipher(self, session: bytes) -> Aead:
        cipher = self._bodies.get(session)
        if cipher is None:
            cipher = self._bodies[session] = self._method.aead(session_subkey(self._key, session))
        return cipher


class UserPackets:
    """AES for a server with users: under a user's key is what the user's identity header says (SIP023 §2.3)."""

    __slots__ = ("_method", "_of", "_users")

    def __init__(self, method: Method, users: Users) -> None:
        self._method = method
        self._users = users
        self._of: dict[bytes, AESPackets] = {}
        """By session, the client's and ours."""

    def seal(self, ids: Ids, body: Buffer) -> bytes:
        """As `PacketCipher.seal`, in a session that `joins` another."""
        return self._of[ids.session].seal(ids, body)

    def joins(self, server: bytes, client: bytes) -> None:
        """Our session `server` answers that of a client: it is the same user's."""
        self._of[server] = self._of[client]

    def ids_untrusted(self, datagram: memoryview) -> Ids:
        """As `PacketCipher.ids_untrusted`."""
        if len(datagram) < 2 * BLOCK + TAG_SIZE:
            raise BadPacket("a Shadowsocks datagram is too short")
        return Ids(*IDS.unpack(self._users.decrypt(datagram[:BLOCK])))

    def body_untrusted(self, datagram: memoryview, ids: Ids) -> bytes:
        """As `PacketCipher.body_untrusted`."""
        key = self._users.of_datagram_untrusted(bytes(datagram[BLOCK : 2 * BLOCK]), IDS.pack(*ids))
        cipher = self._of.get(ids.session) or AESPackets(self._method, (key,))
        body = cipher.body_untrusted(datagram[BLOCK:], ids)
        self._of[ids.session] = cipher  # only now: anybody can send session ids
        return body

    def forget(self, session: bytes) -> None:
        """The session is over."""
        self._of.pop(session, None)


class ChaChaPackets:
    """XChaCha20-Poly1305 under the key itself, with a random nonce for each datagram."""

    __slots__ = ("_cipher", "_opened", "_rng")

    def __init__(self, keys: tuple[bytes, ...], rng: Callable[[int], bytes]) -> None:
        from tunflow.protocols.shadowsocks.xchacha20 import XChaCha20Poly1305  # noqa: PLC0415  (as in `methods`)

        self._cipher = XChaCha20Poly1305(keys[-1])
        self._rng = rng
        self._opened = b""

    def seal(self, ids: Ids, body: Buffer) -> bytes:
        """As `PacketCipher.seal`."""
        nonce = self._rng(_XNONCE_SIZE)
        return nonce + self._cipher.encrypt(nonce, b"".join((IDS.pack(*ids), body)), None)

    def ids_untrusted(self, datagram: memoryview) -> Ids:
        """As `PacketCipher.ids_untrusted`, though here all of it is opened."""
        if len(datagram) < _XNONCE_SIZE + IDS.size + TAG_SIZE:
            raise BadPacket("a Shadowsocks datagram is too short")
        try:
            opened = self._cipher.decrypt(datagram[:_XNONCE_SIZE], datagram[_XNONCE_SIZE:], None)
        except invalid_tag() as error:
            raise BadPacket("a Shadowsocks datagram does not authenticate") from error
        self._opened = opened
        return Ids(*IDS.unpack_from(opened))

    def body_untrusted(self, _datagram: memoryview, _ids: Ids) -> bytes:
        """As `PacketCipher.body_untrusted`: what `ids_untrusted` has opened."""
        body, self._opened = self._opened[IDS.size :], b""
        return body

    def forget(self, session: bytes) -> None:
        """Nothing is kept."""


Packets = AESPackets | ChaChaPackets | UserPackets


def packets(method: Method, keys: tuple[bytes, ...], rng: Callable[[int], bytes]) -> Packets:
    """The method's way."""
    return AESPackets(method, keys) if method.has_identities else ChaChaPackets(keys, rng)


def request_body(peer: Endpoint, payload: Buffer, now: float, padding: bytes) -> bytes:
    """A client's body."""
    size = len(padding).to_bytes(2, "big")
    return b"".join((_TIME.pack(REQUEST, int(now)), size, padding, address.encode(peer), payload))


def answer_body(client_session: bytes, peer: Endpoint, payload: Buffer, now: float, padding: bytes) -> bytes:
    """A server's body."""
    head = _TIME.pack(ANSWER, int(now)) + client_session + len(padding).to_bytes(2, "big")
    return b"".join((head, padding, address.encode(peer), payload))


def parse_body_untrusted(body: bytes, kind: int, now: float) -> Body:
    """A body of the type `kind`, of about now. Raises BadPacket."""
    session_size = SESSION_SIZE if kind == ANSWER else 0
    at = _TIME.size + session_size + 2
    if len(body) < at:
        raise BadPacket("a Shadowsocks datagram is too short")
    found, timestamp = _TIME.unpack_from(body)
    if found != kind:
        raise BadPacket(f"a Shadowsocks datagram of type {found} where {kind} belongs")
    check_time(timestamp, now)
    rest = memoryview(body)[at + (body[at - 2] << 8 | body[at - 1]) :]
    parsed = address.parse_untrusted(rest)
    if parsed is None:
        raise BadPacket("a Shadowsocks datagram ends inside its address")
    peer, size = parsed
    return Body(peer, rest[size:], body[_TIME.size : _TIME.size + session_size])
