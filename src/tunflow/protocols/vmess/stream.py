"""The client's end of a VMess stream: the request, the answer's header, and sealed chunks both ways.

Read first: xtls.github.io, "VMess protocol".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cryptography.exceptions import InvalidTag

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols.codec import Datagram
from tunflow.protocols.vmess.chunks import (
    CHUNKS,
    MASKED_SIZES,
    MOST_PADDING,
    PADDING,
    TAG,
    ChunkOpener,
    ChunkSealer,
    VMessChunks,
)
from tunflow.protocols.vmess.header import CONNECT, Session, answer_keys, open_answer_part, seal_request

_OPTIONS = CHUNKS | MASKED_SIZES | PADDING
LONGEST = 8192 - TAG - MOST_PADDING
"""Bytes of a datagram: with its tag and padding, what servers read at once."""
_SIZE_RECORD = 2 + TAG


class VMessClient:
    """One flow to `target`; `security` is `AES_128_GCM` or `CHACHA20_POLY1305`. As `StreamCodec`.

    With the command `DATAGRAMS` it is a stream of `VMessFrames`, for which each chunk is a datagram.
    """

    __slots__ = (
        "_answer",
        "_answer_size",
        "_down",
        "_heard",
        "_keys",
        "_request",
        "_up",
    )

    established = True
    """The server is not waited for: its answer's header comes with its first bytes."""
    transparent = False

    def __init__(
        self,
        target: Endpoint,
        key: bytes,
        security: int,
        now: int,
        random_bytes: Callable[[int], bytes],
        command: int = CONNECT,
    ) -> None:
        drawn = random_bytes(33)
        session = Session(drawn[:16], drawn[16:32], drawn[32], _OPTIONS, security, command)
        self._request: bytes = seal_request(key, target, session, now, random_bytes)
        self._keys = answer_keys(session)
        self._answer = session.answer
        self._answer_size: int | None = None
        self._up = ChunkSealer(VMessChunks(security, _OPTIONS, session.key, session.iv), random_bytes)
        self._down = ChunkOpener(VMessChunks(security, _OPTIONS, *self._keys))
        self._heard = False

    def seal(self, pieces: Sequence[Buffer]) -> list[Buffer]:
        """As `StreamCodec.seal`; the first call starts with the request."""
        wire: list[Buffer] = []
        if self._request:
            wire.append(self._request)
            self._request = b""
        return wire + self._up.seal(pieces)

    def finish(self) -> list[Buffer]:
        """The chunk without payload."""
        return [*self.seal(()), self._up.end()]

    def open_untrusted(self, data: memoryview) -> tuple[list[Buffer], int]:
        """As `StreamCodec.open_untrusted`. Raises BadPacket."""
        pieces: list[Buffer] = []
        at = 0
        try:
            if not self._heard:
                at = self._hear_answer_untrusted(data)
            if self._heard:
                at += self._down.open_untrusted(data[at:], pieces)
        except InvalidTag as error:
            raise BadPacket("what answers is no VMess server, or knows another id") from error
        return pieces, at

    def _hear_answer_untrusted(self, data: memoryview) -> int:
        """Take the answer's header, if it is whole; how many bytes it had."""
        if len(data) < _SIZE_RECORD:
            return 0
        if self._answer_size is None:
            size = open_answer_part(*self._keys, b" Len", bytes(data[:_SIZE_RECORD]))
            self._answer_size = int.from_bytes(size, "big")
        end = _SIZE_RECORD + self._answer_size + TAG
        if len(data) < end:
            return 0
        header = open_answer_part(*self._keys, b"", bytes(data[_SIZE_RECORD:end]))
        if not header or header[0] != self._answer:
            raise BadPacket("a VMess server's answer is to another request")
        self._heard = True
        return end


class VMessFrames:
    """Datagrams to and from `target`, each a chunk of a stream that `codec` seals. As `StreamDatagramCodec`."""

    __slots__ = ("_codec", "_target")

    def __init__(self, codec: VMessClient, target: Endpoint) -> None:
        self._codec = codec
        self._target = target

    def seal(self, peer: Endpoint, payload: Buffer) -> Sequence[Buffer]:
        """As `StreamDatagramCodec.seal`; an empty chunk would end the stream."""
        if not 0 < len(payload) <= LONGEST or peer != self._target:
            raise BadPacket(f"a VMess stream takes datagrams of 1 to {LONGEST} bytes for its target")
        return self._codec.seal((payload,))

    def open_untrusted(self, data: memoryview) -> tuple[list[Datagram], int]:
        """As `StreamDatagramCodec.open_untrusted`."""
        pieces, used = self._codec.open_untrusted(data)
        return [Datagram(self._target, piece) for piece in pieces], used
