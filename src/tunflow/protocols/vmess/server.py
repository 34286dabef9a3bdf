"""The server's end of a VMess stream.

Read first: xtls.github.io, "VMess protocol". An id is good once, and for two minutes around its time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from cryptography.exceptions import InvalidTag

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols import xudp
from tunflow.protocols.codec import Datagram, StreamDatagramCodec
from tunflow.protocols.vmess.chunks import (
    AES_128_GCM,
    CHACHA20_POLY1305,
    CHUNKS,
    MASKED_SIZES,
    PADDING,
    ChunkOpener,
    ChunkSealer,
    VMessChunks,
)
from tunflow.protocols.vmess.header import (
    CONNECT,
    DATAGRAMS,
    FRONT,
    IDENTITY,
    Session,
    answer_keys,
    command_key,
    identity_time,
    open_request_untrusted,
    request_size,
    seal_answer,
)
from tunflow.protocols.vmess.stream import LONGEST

CLOCKS = 120
"""Seconds that a client's clock may be off."""
MOST_SEEN = 100_000
"""Ids that are remembered at once."""
_OPTIONS = frozenset({CHUNKS, CHUNKS | MASKED_SIZES, CHUNKS | MASKED_SIZES | PADDING})


class VMessUsers:
    """Who may come, and which ids were shown already."""

    def __init__(self, users: Collection[str], unix_time: Callable[[], float]) -> None:
        """`users` are their ids. Raises LocalError for what is none."""
        self._keys = tuple(command_key(user) for user in users)
        self._unix_time = unix_time
        self._seen: dict[bytes, int] = {}

    def key_of_untrusted(self, identity: bytes) -> bytes:
        """The key of the user who made an id, which is not good again. Raises BadPacket."""
        now = int(self._unix_time())
        for key in self._keys:
            made_at = identity_time(key, identity)
            if made_at is None:
                continue
            if abs(made_at - now) > CLOCKS:
                raise BadPacket(f"a client's clock is {abs(made_at - now)} seconds off, or it repeats an old request")
            self._forget(now)
            if identity in self._seen:
                raise BadPacket("a client repeats a request that was answered")
            if len(self._seen) >= MOST_SEEN:
                raise BadPacket(f"more than {MOST_SEEN} requests came in {2 * CLOCKS} seconds")
            self._seen[identity] = now
            return key
        raise BadPacket("a client shows no user id that is known")

    def _forget(self, now: int) -> None:
        while self._seen:
            identity, seen_at = next(iter(self._seen.items()))
            if 0 <= now - seen_at <= 2 * CLOCKS:
                break
            del self._seen[identity]


class VMessServerStream:
    """One flow of one of the users. As `served.ServedStream`."""

    __slots__ = (
        "_down",
        "_greeting",
        "_key",
        "_random_bytes",
        "_size",
        "_up",
        "_users",
        "frames",
        "is_per_target",
        "target",
    )

    established = True
    transparent = False

    def __init__(self, users: VMessUsers, random_bytes: Callable[[int], bytes]) -> None:
        self._users = users
        self._random_bytes = random_bytes
        self._key: bytes | None = None
        self._size: int | None = None
        self._greeting = b""
        self._up: ChunkOpener | None = None
        self._down: ChunkSealer | None = None
        self.target: Endpoint | None = None
        self.frames: StreamDatagramCodec | None = None
        self.is_per_target = False

    def seal(self, pieces: Sequence[Buffer]) -> list[Buffer]:
        """As `StreamCodec.seal`; the answer's head stands before the flow's first bytes."""
        if self._down is None or not pieces:
            return []
        greeting, self._greeting = self._greeting, b""
        sealed = self._down.seal(pieces)
        return [greeting, *sealed] if greeting else sealed

    def open_untrusted(self, data: memoryview) -> tuple[list[Buffer], int]:
        """As `StreamCodec.open_untrusted`; sets `target`. Raises BadPacket."""
        used = 0
        pieces: list[Buffer] = []
        try:
            if self.target is None:
                used = self._take_request_untrusted(data)
            if self._up is not None:
                used += self._up.open_untrusted(data[used:], pieces)
        except InvalidTag as error:
            raise BadPacket("a client's VMess stream is none, or somebody changed it") from error
        if self.is_per_target:
            pieces = [part for piece in pieces for part in (len(piece).to_bytes(2, "big"), piece)]
        return pieces, used

    def finish(self) -> list[Buffer]:
        """The chunk without payload, behind the answer's head where nothing was said."""
        if self._down is None:
            return []
        greeting, self._greeting = self._greeting, b""
        return [greeting + self._down.end()]

    def _take_request_untrusted(self, data: memoryview) -> int:
        """How many bytes the request has, once it is whole. Raises BadPacket, InvalidTag."""
        if self._key is None and len(data) >= IDENTITY:
            self._key = self._users.key_of_untrusted(bytes(data[:IDENTITY]))
        if self._key is None or len(data) < FRONT:
            return 0
        if self._size is None:
            self._size = request_size(self._key, bytes(data[:FRONT]))
        if len(data) < self._size:
            return 0
        session, target = open_request_untrusted(self._key, bytes(data[: self._size]))
        self._begin(session, target)
        return self._size

    def _begin(self, session: Session, target: Endpoint) -> None:
        """Raises BadPacket."""
        if session.security not in {AES_128_GCM, CHACHA20_POLY1305}:
            raise BadPacket(
                f"a client's VMess encryption is number {session.security}: none, zero and old ones are not served"
            )
        if session.options not in _OPTIONS:
            raise BadPacket(f"a client's VMess options are {session.options:#x}: authenticated lengths are not served")
        if session.command == xudp.COMMAND:
            self.frames = xudp.XUDPFrames(answers=True)
        elif session.command == DATAGRAMS:
            self.frames = ServedFrames(target)
            self.is_per_target = True
        elif session.command != CONNECT:
            raise BadPacket(f"a client's VMess command is {session.command}")
        self._up = ChunkOpener(VMessChunks(session.security, session.options, session.key, session.iv))
        down = VMessChunks(session.security, session.options, *answer_keys(session))
        self._down = ChunkSealer(down, self._random_bytes)
        self._greeting = seal_answer(session)
        self.target = target


class ServedFrames:
    """Datagrams to and from `target`: a size before each that came, and none before what goes in a chunk of its own.

    As `StreamDatagramCodec`.
    """

    __slots__ = ("_target",)

    def __init__(self, target: Endpoint) -> None:
        self._target = target

    def seal(self, _peer: Endpoint, payload: Buffer) -> Sequence[Buffer]:
        """As `StreamDatagramCodec.seal`."""
        if not 0 < len(payload) <= LONGEST:
            raise BadPacket(f"a VMess stream takes datagrams of 1 to {LONGEST} bytes")
        return (payload,)

    def open_untrusted(self, data: memoryview) -> tuple[list[Datagram], int]:
        """As `StreamDatagramCodec.open_untrusted`."""
        datagrams = []
        at = 0
        while len(data) - at >= 2:
            end = at + 2 + (data[at] << 8 | data[at + 1])
            if end > len(data):
                break
            datagrams.append(Datagram(self._target, bytes(data[at + 2 : end])))
            at = end
        return datagrams, at
