"""Both ends of a Shadowsocks stream, as `StreamCodec`s.

Read first: SIP004 ("TCP"). The client's bytes are an address, then the flow; the server's are the flow alone.
A direction ends when the connection's does: the format has no mark of its own.

Salts are arguments: whoever makes a codec draws `method.salt_size` fresh random bytes for it and uses them
once.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunflow.endpoint import Buffer, Endpoint
from tunflow.protocols import address
from tunflow.protocols.shadowsocks.chunks import Opener, SaltedSealer
from tunflow.protocols.shadowsocks.methods import Method
from tunflow.protocols.shadowsocks.replay import ReplayFilter


class ClientStream:
    """The client's end of one flow to `target`.

    A server that answers under our own salt is refused: the two directions share a key, so our request sent
    back to us would open as the answer.
    """

    __slots__ = ("_address", "_opener", "_sealer")

    def __init__(self, method: Method, key: bytes, target: Endpoint, salt: bytes) -> None:
        self._address: bytes = address.encode(target)
        self._sealer = SaltedSealer(method, key, salt)
        self._opener = Opener(method, key, lambda theirs: theirs != salt)

    established = True
    """The server is never asked: the address goes out with the first bytes, and no answer comes back."""
    transparent = False

    def seal(self, pieces: Sequence[Buffer]) -> list[Buffer]:
        """Flow bytes to wire bytes; the first call starts with the salt and the target's address."""
        if self._address:
            pieces = [self._address, *pieces]
            self._address = b""
        return self._sealer.seal(pieces)

    def open_untrusted(self, data: memoryview) -> tuple[list[Buffer], int]:
        """Wire bytes to flow bytes, as `StreamCodec.open_untrusted`. Raises BadPacket."""
        return self._opener.open_untrusted(data)

    def finish(self) -> list[Buffer]:
        """Nothing: the format has no mark for an end."""
        return []


class ServerStream:
    """The server's end of one flow.

    `target` is None until the client's address has arrived; what follows the address comes out as flow bytes,
    of the same call too. After BadPacket (a wrong key, a replayed salt, a bad address) the caller must look
    like a peer that is still waiting: read on and throw away, never answer, never close first, whatever
    arrives.
    """

    __slots__ = ("_head", "_opener", "_replay", "_salt", "_sealer", "target")

    def __init__(self, method: Method, key: bytes, salt: bytes, replay: ReplayFilter) -> None:
        self._sealer = SaltedSealer(method, key, salt)
        self._opener = Opener(method, key, replay.admit)
        self._replay = replay
        self._salt = salt
        self._head = b""
        self.target: Endpoint | None = None
        """Where the client wants to go; None until it has said so."""

    established = True
    transparent = False

    def seal(self, pieces: Sequence[Buffer]) -> list[Buffer]:
        """Flow bytes to wire bytes, the first of them behind the salt; nothing for no bytes."""
        sealed = self._sealer.seal(pieces)
        if sealed and self._salt:
            self._replay.admit(self._salt)  # our own answer must not come back as a request
            self._salt = b""
        return sealed

    def open_untrusted(self, data: memoryview) -> tuple[list[Buffer], int]:
        """Wire bytes to flow bytes, as `StreamCodec.open_untrusted`; sets `target`. Raises BadPacket."""
        pieces, used = self._opener.open_untrusted(data)
        if self.target is None and pieces:
            pieces = self._take_address_untrusted(pieces)
        return pieces, used

    def finish(self) -> list[Buffer]:
        """Nothing: the format has no mark for an end."""
        return []

    def _take_address_untrusted(self, pieces: list[Buffer]) -> list[Buffer]:
        # An address may be cut into chunks anywhere; less than address.MAX_SIZE bytes ever wait for the rest.
        head = memoryview(b"".join((self._head, *pieces)))
        parsed = address.parse_untrusted(head)
        if parsed is None:
            self._head = bytes(head)
            return []
        self.target, size = parsed
        self._head = b""
        return [head[size:]] if size < len(head) else []
