"""Both ends of a stream of the 2022 edition, as `StreamCodec`s.

Read first: SIP022 §3.1, SIP023 §2.2.

    request    salt | identities | AEAD(type 0, timestamp, length) | AEAD(address, padding, first payload) | chunks
    answer     salt | AEAD(type 1, timestamp, the request's salt, length) | AEAD(first payload) | chunks

A header takes the place of the first chunk's length, so behind it everything is as in the older edition, with chunks
up to 65,535 bytes. `clock` gives Unix time in seconds, `rng` that many random bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols import address
from tunflow.protocols.shadowsocks.chunks import Opener, SaltedSealer, cut
from tunflow.protocols.shadowsocks.keys2022 import BLOCK, Users, stream_identities
from tunflow.protocols.shadowsocks.methods import TAG_SIZE, Method
from tunflow.protocols.shadowsocks.replay import TimedReplayFilter

Clock = Callable[[], float]

REQUEST, ANSWER = 0, 1
"""SIP022 §3.1.3: header types."""

CLOCK_SKEW = 30
"""SIP022 §3.1.4: a timestamp further than 30 seconds from now MUST be treated as a replay."""

MAX_PADDING = 900
"""SIP022 §3.1.3."""

_FIXED = struct.Struct("!BQH")
_LARGEST_FIRST = 0xFFFF - address.MAX_SIZE - 2
"""First payload bytes that fit into the variable header whatever the address."""


def check_time(timestamp: int, now: float) -> None:
    """Raises BadPacket."""
    if abs(timestamp - now) > CLOCK_SKEW:
        raise BadPacket(f"a Shadowsocks timestamp is {timestamp - now:+.0f} s off; compare this host's clock")


class ClientStream2022:
    """The client's end of one flow to `target`. `keys` as `parse_keys` gives them."""

    __slots__ = ("_address", "_clock", "_opener", "_prefix", "_rng", "_sealer")

    established = True
    transparent = False

    def __init__(
        self, method: Method, keys: tuple[bytes, ...], target: Endpoint, rng: Callable[[int], bytes], clock: Clock
    ) -> None:
        salt = rng(method.salt_size)
        self._address: bytes = address.encode(target)
        self._clock = clock
        self._rng = rng
        self._prefix = salt + stream_identities(keys, salt)
        self._sealer = SaltedSealer(method, keys[-1], salt, behind_header=True)
        self._opener = _AnswerOpener(method, keys[-1], salt, clock)

    def seal(self, pieces: Sequence[Buffer]) -> list[Buffer]:
        """Flow bytes to wire bytes; the first call starts with the salt and the headers."""
        if not self._address:
            return self._sealer.seal(pieces)
        chunks = cut(pieces, _LARGEST_FIRST)
        first = chunks[0] if chunks else b""
        # SIP022 §3.1.3: "The padding length MUST be non-zero when there is no initial payload".
        padding = b"" if chunks else bytes(1 + int.from_bytes(self._rng(2), "big") % MAX_PADDING)
        wire = self.headers(padding, first)
        return [*wire, *self._sealer.seal(chunks[1:])]

    def headers(self, padding: bytes, first: Buffer) -> list[Buffer]:
        """Everything before the first chunk."""
        variable = b"".join((self._address, len(padding).to_bytes(2, "big"), padding, first))
        self._address = b""
        fixed = self._sealer.record(_FIXED.pack(REQUEST, int(self._clock()), len(variable)))
        return [self._prefix + fixed, self._sealer.record(variable)]

    def open_untrusted(self, data: memoryview) -> tuple[list[Buffer], int]:
        """Wire bytes to flow bytes, as `StreamCodec.open_untrusted`. Raises BadPacket."""
        return self._opener.open_untrusted(data)

    def finish(self) -> list[Buffer]:
        """Nothing: the format has no mark for an end."""
        return []


class ServerStream2022:
    """The server's end of one flow; see `ServerStream`, which it behaves like."""

    __slots__ = ("_clock", "_method", "_opener", "_rng", "_sealer", "target")

    established = True
    transparent = False

    def __init__(
        self,
        method: Method,
        key: bytes,
        rng: Callable[[int], bytes],
        replay: TimedReplayFilter,
        clock: Clock,
        users: Users | None = None,
    ) -> None:
        """With `users` the key is that of the one who the client says it is."""
        self._method = method
        self._rng = rng
        self._clock = clock
        self._opener = _RequestOpener(method, key, replay, clock, users)
        self._sealer: SaltedSealer | None = None
        self.target: Endpoint | None = None
        """Where the client wants to go; None until it has said so."""

    def seal(self, pieces: Sequence[Buffer]) -> list[Buffer]:
        """Flow bytes to wire bytes, the first of them behind the salt and the header; nothing for no bytes."""
        if self._sealer is not None:
            return self._sealer.seal(pieces)
        chunks = cut(pieces, self._method.largest_chunk)
        if not chunks:
            return []
        salt = self._rng(self._method.salt_size)
        sealer = self._sealer = SaltedSealer(self._method, self._opener.key, salt, behind_header=True)
        header = struct.pack("!BQ", ANSWER, int(self._clock())) + self._opener.salt
        fixed = sealer.record(header + len(chunks[0]).to_bytes(2, "big"))
        return [salt + fixed, sealer.record(chunks[0]), *sealer.seal(chunks[1:])]

    def open_untrusted(self, data: memoryview) -> tuple[list[Buffer], int]:
        """Wire bytes to flow bytes, as `StreamCodec.open_untrusted`; sets `target`. Raises BadPacket."""
        pieces, used = self._opener.open_untrusted(data)
        if self.target is None and pieces:
            first = self._take_header_untrusted(memoryview(pieces[0]))
            pieces[:1] = [first] if first else []
        return pieces, used

    def finish(self) -> list[Buffer]:
        """Nothing: the format has no mark for an end."""
        return []

    def _take_header_untrusted(self, header: memoryview) -> memoryview:
        """Take the variable header; what is left of its record is the flow's."""
        parsed = address.parse_untrusted(header)
        if parsed is None or len(header) < parsed[1] + 2:
            raise BadPacket("a Shadowsocks header ends inside its address")
        target, size = parsed
        padding = header[size] << 8 | header[size + 1]
        payload = header[size + 2 + padding :]
        if padding > MAX_PADDING or size + 2 + padding > len(header) or not (padding or payload):
            raise BadPacket(f"a Shadowsocks header has {padding} bytes of padding and {len(payload)} of payload")
        self.target = target
        return payload


class _AnswerOpener(Opener):
    """What the server sends; its header says that it answers the request with `request_salt`."""

    __slots__ = ("_clock", "_request_salt")

    def __init__(self, method: Method, key: bytes, request_salt: bytes, clock: Clock) -> None:
        super().__init__(method, key, lambda _salt: True)
        self._request_salt = request_salt
        self._clock = clock

    def _begin_untrusted(self, data: memoryview) -> int:
        salt_size = self._method.salt_size
        size = salt_size + 1 + 8 + salt_size + 2 + TAG_SIZE
        if len(data) < size:
            return 0
        decrypt = self._method.session(self._key, bytes(data[:salt_size])).decrypt
        header = decrypt(bytes(self._method.nonce_size), data[salt_size:size], None)
        if header[0] != ANSWER:
            raise BadPacket(f"a Shadowsocks header of type {header[0]} where an answer belongs")
        check_time(int.from_bytes(header[1:9], "big"), self._clock())
        if header[9:-2] != self._request_salt:
            raise BadPacket("a Shadowsocks answer belongs to another request")
        self._counter = 1
        self._pending = self._checked(header[-2] << 8 | header[-1], 1)
        self._decrypt = decrypt
        return size


class _RequestOpener(Opener):
    """What the client sends; `salt` is its salt and `key` its key once the fixed header was opened."""

    __slots__ = ("_clock", "_replay", "_users", "key", "salt")

    def __init__(
        self, method: Method, key: bytes, replay: TimedReplayFilter, clock: Clock, users: Users | None
    ) -> None:
        super().__init__(method, key, lambda _salt: True)
        self.key = key
        self._users = users
        self._replay = replay
        self._clock = clock
        self.salt = b""

    def _begin_untrusted(self, data: memoryview) -> int:
        salt_size = self._method.salt_size
        start = salt_size if self._users is None else salt_size + BLOCK
        size = start + _FIXED.size + TAG_SIZE
        if len(data) < size:
            return 0
        salt = bytes(data[:salt_size])
        key = self.key
        if self._users is not None:
            key = self._users.of_stream_untrusted(bytes(data[salt_size:start]), salt)
        decrypt = self._method.session(key, salt).decrypt
        kind, timestamp, length = _FIXED.unpack(decrypt(bytes(self._method.nonce_size), data[start:size], None))
        if kind != REQUEST:
            raise BadPacket(f"a Shadowsocks header of type {kind} where a request belongs")
        now = self._clock()
        check_time(timestamp, now)
        if not self._replay.admit(salt, now):
            raise BadPacket("a Shadowsocks salt was seen before")
        self._counter = 1
        self._pending = self._checked(length, 1)
        self._decrypt = decrypt
        self.salt, self.key = salt, key
        return size
