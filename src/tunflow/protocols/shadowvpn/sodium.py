"""Salsa20/8 and Poly1305 from the system's libsodium, by ctypes: a packet costs two calls.

Builds of libsodium that are "minimal" leave Salsa20/8 out (the copy inside PyNaCl is one), so it is looked for.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache

from tunflow.endpoint import Buffer
from tunflow.protocols.shadowvpn.seal import KEY_SIZE, NONCE_SIZE, OVERHEAD, TAG_SIZE

NAMES = ("libsodium.so.26", "libsodium.so.23", "libsodium.so", "libsodium.dylib")

_TAG_AT = KEY_SIZE - TAG_SIZE
_NONCE_AT = _TAG_AT - NONCE_SIZE
_NO_HEAD = bytes(OVERHEAD)
LARGEST = 65536
"""Bytes of the largest packet, and a little more."""


@cache
def library() -> ctypes.CDLL | None:
    """The system's libsodium, if it has Salsa20/8."""
    for name in NAMES:
        try:
            found = ctypes.CDLL(name)
        except OSError:
            continue
        if hasattr(found, "crypto_stream_salsa208_xor") and found.sodium_init() >= 0:
            found.crypto_stream_salsa208_xor.argtypes = [
                ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ulonglong, ctypes.c_char_p, ctypes.c_char_p,
            ]  # fmt: skip
            found.crypto_onetimeauth_poly1305.argtypes = [
                ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ulonglong, ctypes.c_void_p,
            ]  # fmt: skip
            found.crypto_onetimeauth_poly1305_verify.argtypes = [
                ctypes.c_char_p, ctypes.c_void_p, ctypes.c_ulonglong, ctypes.c_void_p,
            ]  # fmt: skip
            return found
    return None


class SodiumBox:
    """`SecretBox` by libsodium; `library` must have found one."""

    def __init__(self, key: bytes) -> None:
        found = library()
        assert found is not None
        self._key = key
        self._xor = found.crypto_stream_salsa208_xor
        self._authenticate = found.crypto_onetimeauth_poly1305
        self._verify = found.crypto_onetimeauth_poly1305_verify
        # 32 zeros, which become the key of Poly1305, and the text behind them; the tag goes in front of the ciphertext.
        self._in, self._in_at = _memory(KEY_SIZE + LARGEST)
        self._out, self._out_at = _memory(KEY_SIZE + LARGEST)
        self._opened, self._opened_at = _memory(KEY_SIZE + LARGEST)

    def seal(self, nonces: bytes, front: bytes, packets: Sequence[Buffer]) -> list[bytes]:
        """The datagrams."""
        text, view, xor, authenticate = self._in, self._out, self._xor, self._authenticate
        source, out, key = self._in_at, self._out_at, self._key
        tag, ciphertext = out + _TAG_AT, out + KEY_SIZE
        start = KEY_SIZE + len(front)
        text[KEY_SIZE:start] = front
        datagrams = []
        at = 0
        for packet in packets:
            end = start + len(packet)
            text[start:end] = packet
            nonce = nonces[at : at + NONCE_SIZE]
            at += NONCE_SIZE
            xor(out, source, end, nonce, key)
            # The key of Poly1305 is of no use any more once the tag, which lies over its second half, is made.
            authenticate(tag, ciphertext, end - KEY_SIZE, out)
            view[_NONCE_AT:_TAG_AT] = nonce
            datagrams.append(bytes(view[_NONCE_AT:end]))
        return datagrams

    def open(self, datagrams: Sequence[bytes]) -> list[memoryview]:
        """The plaintexts."""
        size = KEY_SIZE * len(datagrams) + sum(map(len, datagrams))
        if size > len(self._opened):
            self._opened, self._opened_at = _memory(size)
        text, view, xor, verify, key = self._in, self._opened, self._xor, self._verify, self._key
        source, out = self._in_at, self._opened_at
        ciphertext = source + KEY_SIZE
        plaintexts = []
        start = KEY_SIZE
        for datagram in datagrams:
            size = len(datagram) - OVERHEAD
            # The datagram as it is, its head made zeros, is cheaper than a copy of the ciphertext alone.
            text[_NONCE_AT : KEY_SIZE + size] = datagram
            text[_NONCE_AT:KEY_SIZE] = _NO_HEAD
            xor(out, source, KEY_SIZE + size, datagram, key)
            if not verify(datagram[NONCE_SIZE:OVERHEAD], ciphertext, size, out):
                end = start + size
                plaintexts.append(view[start:end])
                start = end + KEY_SIZE
                out += KEY_SIZE + size
        return plaintexts


def _memory(size: int) -> tuple[memoryview, int]:
    """Zeros, and where they are."""
    view = memoryview(bytearray(size))
    return view, ctypes.addressof(ctypes.c_char.from_buffer(view))
