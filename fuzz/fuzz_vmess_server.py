"""A VMess server's stream: any bytes, and any header that a user sealed, are a flow or a BadPacket; cuts change
nothing.

The first byte says what is fed (bytes as they are, a sealed header, chunks behind a right one), the second how it is
cut.
"""

from __future__ import annotations

import zlib

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tunflow.endpoint import Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols.vmess.chunks import AES_128_GCM
from tunflow.protocols.vmess.header import CONNECT, DATAGRAMS, FRONT, Session, command_key, derive, seal_request
from tunflow.protocols.vmess.server import VMessServerStream, VMessUsers

USER = "01234567-89ab-cdef-0123-456789abcdef"
KEY = command_key(USER)
NOW = 1_700_000_000
TARGET = Endpoint("example.com", 443)
LONGEST_WAITING = FRONT + 0x1_0000 + 16 + 2

_HEAD = b"\x01" + bytes(32) + b"\x07\x0d\x33\x00\x01\x01\xbb\x02\x0bexample.compad"
SEEDS: list[bytes] = [
    b"\x00\x00" + bytes(60),
    b"\x01\x00" + _HEAD,
    b"\x01\x03" + _HEAD[:37] + b"\x02\x00\x35\x01\x0a\x00\x00\x01pad",
    b"\x01\x03" + _HEAD[:37] + b"\x03pad",
    b"\x01\x10" + _HEAD[:34] + b"\x1d" + _HEAD[35:],
    b"\x02\x05" + bytes(100),
    b"\x03\x05" + bytes(100),
]


def one_input(data: bytes) -> None:
    """Raises only when the invariant is broken."""
    if len(data) < 2:
        return
    kind = data[0] % 4
    wire = data[2:]
    if kind == 1:
        wire = _sealed(wire)
    elif kind:
        session = Session(bytes(16), bytes(16), 7, 1, AES_128_GCM, CONNECT if kind == 2 else DATAGRAMS)
        wire = seal_request(KEY, TARGET, session, NOW, bytes) + wire
    whole = _fed(wire, len(wire) + 1)
    pieces = _fed(wire, 1 + data[1])
    assert whole is None or pieces is None or whole == pieces


def _fed(wire: bytes, step: int) -> tuple[bytes, Endpoint | None] | None:
    """The flow and its target; None for a refusal."""
    stream = VMessServerStream(VMessUsers([USER], lambda: NOW), bytes)
    out = waiting = b""
    for at in range(0, len(wire), step):
        waiting += wire[at : at + step]
        try:
            pieces, used = stream.open_untrusted(memoryview(waiting))
        except BadPacket as refused:
            error = refused
            break
        assert 0 <= used <= len(waiting)
        waiting = waiting[used:]
        assert len(waiting) <= LONGEST_WAITING + step
        out += b"".join(pieces)
        stream.seal([b"answer"])
    else:
        stream.finish()
        return out, stream.target
    assert str(error).isprintable()
    return None


def _sealed(header: bytes) -> bytes:
    """A header as its user seals it, its checksum behind it."""
    value = 0x811C9DC5
    for byte in header:
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    plain = header + value.to_bytes(4, "big")
    stamp = NOW.to_bytes(8, "big") + bytes(4)
    block = stamp + zlib.crc32(stamp).to_bytes(4, "big")
    one_block = Cipher(algorithms.AES(derive(KEY, b"AES Auth ID Encryption")[:16]), modes.ECB()).encryptor()
    identity, nonce = one_block.update(block), bytes(8)
    parts = [identity]
    for suffix, text in ((b"_Length", (len(plain) & 0xFFFF).to_bytes(2, "big")), (b"", plain)):
        key = derive(KEY, b"VMess Header AEAD Key" + suffix, identity, nonce)[:16]
        iv = derive(KEY, b"VMess Header AEAD Nonce" + suffix, identity, nonce)[:12]
        parts.append(AESGCM(key).encrypt(iv, text, identity))
        if suffix:
            parts.append(nonce)
    return b"".join(parts)
