"""The client's end of a VMess stream: the request, the answer's header, and sealed chunks both ways.

Read first: xtls.github.io, "VMess protocol" ("standard format" of the data). A chunk is a masked size of 2 bytes, the
sealed payload and padding, both lengths inside the size; a chunk without payload ends a direction. The nonce counts in
16 bits, so it comes again after 65,536 chunks of one direction: a flaw of VMess, kept rare here by large chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import md5

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHAKE128, XOFHash

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols.vmess.header import Session, answer_keys, open_answer_part, seal_request

AES_128_GCM = 3
CHACHA20_POLY1305 = 4

CHUNKS = 0x01
MASKED_SIZES = 0x04
PADDING = 0x08
_OPTIONS = CHUNKS | MASKED_SIZES | PADDING

_TAG = 16
_LARGEST = 16384 - _TAG - 64
_UNENDING = 2**31 - 1
_SIZE_RECORD = 2 + _TAG


class _Chunks:
    """One direction: the cipher, its counting nonce, and the masks of sizes and paddings."""

    __slots__ = ("_cipher", "_count", "_iv", "_masks")

    def __init__(self, security: int, key: bytes, iv: bytes) -> None:
        if security == AES_128_GCM:
            self._cipher: AESGCM | ChaCha20Poly1305 = AESGCM(key)
        else:
            first = md5(key).digest()
            self._cipher = ChaCha20Poly1305(first + md5(first).digest())
        self._iv = iv[2:12]
        self._count = 0
        self._masks = XOFHash(SHAKE128(digest_size=_UNENDING))
        self._masks.update(iv)

    def next_masks(self) -> tuple[int, int]:
        """How many bytes of padding the next chunk has, and what its size is masked with."""
        drawn = self._masks.squeeze(4)
        return (drawn[0] << 8 | drawn[1]) & 63, drawn[2] << 8 | drawn[3]

    def encrypt(self, plain: Buffer) -> bytes:
        return self._cipher.encrypt(self._nonce(), plain, None)

    def decrypt(self, sealed: Buffer) -> bytes:
        """Raises InvalidTag."""
        return self._cipher.decrypt(self._nonce(), sealed, None)

    def _nonce(self) -> bytes:
        nonce = self._count.to_bytes(2, "big") + self._iv
        self._count = self._count + 1 & 0xFFFF
        return nonce


class VMessClient:
    """One flow to `target`; `security` is `AES_128_GCM` or `CHACHA20_POLY1305`. As `StreamCodec`."""

    __slots__ = (
        "_answer",
        "_answer_size",
        "_down",
        "_heard",
        "_keys",
        "_next",
        "_over",
        "_random_bytes",
        "_request",
        "_up",
    )

    established = True
    """The server is not waited for: its answer's header comes with its first bytes."""
    transparent = False

    def __init__(
        self, target: Endpoint, key: bytes, security: int, now: int, random_bytes: Callable[[int], bytes]
    ) -> None:
        drawn = random_bytes(33)
        session = Session(drawn[:16], drawn[16:32], drawn[32], _OPTIONS, security)
        self._request: bytes = seal_request(key, target, session, now, random_bytes)
        self._random_bytes = random_bytes
        self._keys = answer_keys(session)
        self._answer = session.answer
        self._answer_size: int | None = None
        self._up = _Chunks(security, session.key, session.iv)
        self._down = _Chunks(security, *self._keys)
        self._heard = False
        self._next: tuple[int, int] | None = None
        """Bytes of the chunk whose size was read, and of the padding at its end."""
        self._over = False

    def seal(self, pieces: Sequence[Buffer]) -> list[Buffer]:
        """As `StreamCodec.seal`; the first call starts with the request."""
        wire: list[Buffer] = []
        if self._request:
            wire.append(self._request)
            self._request = b""
        data = memoryview(b"".join(pieces))
        for at in range(0, len(data), _LARGEST):
            wire.append(self._chunk(data[at : at + _LARGEST]))
        return wire

    def _chunk(self, plain: Buffer) -> bytes:
        padding, mask = self._up.next_masks()
        size = len(plain) + _TAG + padding ^ mask
        return b"".join((size.to_bytes(2, "big"), self._up.encrypt(plain), self._random_bytes(padding)))

    def finish(self) -> list[Buffer]:
        """The chunk without payload."""
        return [*self.seal(()), self._chunk(b"")]

    def open_untrusted(self, data: memoryview) -> tuple[list[Buffer], int]:
        """As `StreamCodec.open_untrusted`. Raises BadPacket."""
        pieces: list[Buffer] = []
        at = 0
        try:
            if not self._heard:
                at = self._hear_answer_untrusted(data)
            while self._heard and not self._over:
                used = self._open_chunk_untrusted(data[at:], pieces)
                if not used:
                    return pieces, at
                at += used
        except InvalidTag as error:
            raise BadPacket("what answers is no VMess server, or knows another id") from error
        return pieces, len(data) if self._over else at

    def _hear_answer_untrusted(self, data: memoryview) -> int:
        """Take the answer's header, if it is whole; how many bytes it had."""
        if len(data) < _SIZE_RECORD:
            return 0
        if self._answer_size is None:
            size = open_answer_part(*self._keys, b" Len", bytes(data[:_SIZE_RECORD]))
            self._answer_size = int.from_bytes(size, "big")
        end = _SIZE_RECORD + self._answer_size + _TAG
        if len(data) < end:
            return 0
        header = open_answer_part(*self._keys, b"", bytes(data[_SIZE_RECORD:end]))
        if not header or header[0] != self._answer:
            raise BadPacket("a VMess server's answer is to another request")
        self._heard = True
        return end

    def _open_chunk_untrusted(self, data: memoryview, pieces: list[Buffer]) -> int:
        """Open the chunk at the front; how many bytes it had, 0 while it is not whole."""
        if self._next is None:
            if len(data) < 2:
                return 0
            padding, mask = self._down.next_masks()
            size = (data[0] << 8 | data[1]) ^ mask
            if size < _TAG + padding:
                raise BadPacket(f"a VMess chunk of {size} bytes is shorter than its tag and padding")
            self._next = size, padding
        size, padding = self._next
        if len(data) < 2 + size:
            return 0
        self._next = None
        if plain := self._down.decrypt(data[2 : 2 + size - padding]):
            pieces.append(plain)
        else:
            self._over = True
        return 2 + size
