"""Sealed chunks of one direction of a VMess stream.

Read first: xtls.github.io, "VMess protocol" ("standard format" of the data). A chunk is a masked size of 2 bytes, the
sealed payload and padding, both lengths inside the size; a chunk without payload ends a direction. The nonce counts in
16 bits, so it comes again after 65,536 chunks of one direction: a flaw of VMess, kept rare here by large chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import md5

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHAKE128, XOFHash

from tunflow.endpoint import Buffer
from tunflow.errors import BadPacket

AES_128_GCM = 3
CHACHA20_POLY1305 = 4
CHUNKS = 0x01
MASKED_SIZES = 0x04
PADDING = 0x08
TAG = 16
MOST_PADDING = 64
_LARGEST = 16384 - TAG - MOST_PADDING
_UNENDING = 2**31 - 1


class VMessChunks:
    """The cipher, its counting nonce, and the masks of sizes and paddings, as a request's `options` want them."""

    __slots__ = ("_cipher", "_count", "_has_masks", "_has_padding", "_iv", "_masks")

    def __init__(self, security: int, options: int, key: bytes, iv: bytes) -> None:
        """`security` is `AES_128_GCM` or `CHACHA20_POLY1305`."""
        if security == AES_128_GCM:
            self._cipher: AESGCM | ChaCha20Poly1305 = AESGCM(key)
        else:
            first = md5(key).digest()
            self._cipher = ChaCha20Poly1305(first + md5(first).digest())
        self._iv = iv[2:12]
        self._count = 0
        self._has_masks = bool(options & MASKED_SIZES)
        self._has_padding = bool(options & PADDING)
        self._masks = XOFHash(SHAKE128(digest_size=_UNENDING))
        self._masks.update(iv)

    def next_masks(self) -> tuple[int, int]:
        """How many bytes of padding the next chunk has, and what its size is masked with."""
        if self._has_masks and self._has_padding:
            drawn = self._masks.squeeze(4)
            return (drawn[0] << 8 | drawn[1]) & 63, drawn[2] << 8 | drawn[3]
        if not self._has_masks:
            return 0, 0
        drawn = self._masks.squeeze(2)
        return 0, drawn[0] << 8 | drawn[1]

    def encrypt(self, plain: Buffer) -> bytes:
        """The next chunk of at most 16 KiB, without its length."""
        return self._cipher.encrypt(self._nonce(), plain, None)

    def decrypt(self, sealed: Buffer) -> bytes:
        """Raises InvalidTag."""
        return self._cipher.decrypt(self._nonce(), sealed, None)

    def _nonce(self) -> bytes:
        nonce = self._count.to_bytes(2, "big") + self._iv
        self._count = self._count + 1 & 0xFFFF
        return nonce


class ChunkSealer:
    """Makes chunks."""

    __slots__ = ("_chunks", "_random_bytes")

    def __init__(self, chunks: VMessChunks, random_bytes: Callable[[int], bytes]) -> None:
        self._chunks = chunks
        self._random_bytes = random_bytes

    def seal(self, pieces: Sequence[Buffer]) -> list[Buffer]:
        """As many chunks as it takes."""
        data = memoryview(b"".join(pieces))
        return [self._chunk(data[at : at + _LARGEST]) for at in range(0, len(data), _LARGEST)]

    def end(self) -> bytes:
        """The chunk without payload."""
        return self._chunk(b"")

    def _chunk(self, plain: Buffer) -> bytes:
        padding, mask = self._chunks.next_masks()
        size = len(plain) + TAG + padding ^ mask
        return b"".join((size.to_bytes(2, "big"), self._chunks.encrypt(plain), self._random_bytes(padding)))


class ChunkOpener:
    """Opens chunks; what comes behind the last one is passed over."""

    __slots__ = ("_chunks", "_is_over", "_next")

    def __init__(self, chunks: VMessChunks) -> None:
        self._chunks = chunks
        self._next: tuple[int, int] | None = None
        """Bytes of the chunk whose size was read, and of the padding at its end."""
        self._is_over = False

    def open_untrusted(self, data: memoryview, pieces: list[Buffer]) -> int:
        """Open what is whole, a piece for each chunk; how many bytes that was. Raises BadPacket, InvalidTag."""
        at = 0
        while not self._is_over:
            if self._next is None:
                if len(data) - at < 2:
                    return at
                padding, mask = self._chunks.next_masks()
                size = (data[at] << 8 | data[at + 1]) ^ mask
                if size < TAG + padding:
                    raise BadPacket(f"a VMess chunk of {size} bytes is shorter than its tag and padding")
                self._next = size, padding
            size, padding = self._next
            if len(data) - at < 2 + size:
                return at
            self._next = None
            start, at = at + 2, at + 2 + size
            if plain := self._chunks.decrypt(data[start : at - padding]):
                pieces.append(plain)
            else:
                self._is_over = True
        return len(data)
