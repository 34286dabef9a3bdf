"""What an AnyTLS server says: any bytes are frames or a BadPacket, cuts change nothing, and padding stays bounded."""

from __future__ import annotations

from tunflow.errors import BadPacket
from tunflow.protocols.anytls import padding
from tunflow.protocols.anytls.session import (
    FIN,
    PADDING,
    PUSH,
    SERVER_SETTINGS,
    SYN_ACK,
    AnyTLSSession,
    LatestScheme,
    frame,
)
from tunflow.protocols.codec import ProxyRefused

_HEAD = frame(SERVER_SETTINGS, 0, b"v=2")

SEEDS: list[bytes] = [
    b"\x03" + _HEAD + frame(SYN_ACK, 1) + frame(PUSH, 1, b"hello") + frame(FIN, 1),
    b"\x01" + _HEAD + frame(PADDING, 0, b"stop=3\n0=30-30\n1=100-400\n2=400-500,c,500-1000"),
    b"\x07" + _HEAD + frame(SYN_ACK, 1, b"no route") + frame(8, 7),
    b"\xffHTTP/1.1 400 Bad Request\r\n\r\n",
    b"\x05" + frame(5, 0, b"too old"),
]


def one_input(data: bytes) -> None:
    """Raises only when the invariant is broken."""
    if not data:
        return
    whole = _heard(data[1:], len(data))
    pieces = _heard(data[1:], 1 + data[0])
    assert whole is None or pieces is None or whole == pieces
    try:
        scheme = padding.parse_untrusted(data)
    except BadPacket:
        return
    for packet in range(4):
        sizes = scheme.sizes(packet, bytes)
        assert sum(sizes) <= 64 * 16384
        made = padding.pieces(data, sizes, lambda size: bytes(max(7, size)))
        assert b"".join(made).startswith(data[:1])


def _heard(data: bytes, step: int) -> bytes | None:
    """What comes out of the stream, or None for a refusal."""
    session = AnyTLSSession("password", LatestScheme(), bytes)
    session.connected(0.0)
    stream = session.open(0.0)
    assert stream is not None
    stream.send([b"target"], 0.0)
    out = b""
    for at in range(0, len(data), step):
        try:
            session.receive_untrusted(data[at : at + step], 1.0)
            while session.outgoing(1.0):
                pass
            while stream.readable:
                out += b"".join(stream.take(1000))
        except ProxyRefused:
            return None
        except BadPacket as error:
            session.end(error)
            return None
    return out
