"""What a server says on HTTP/2: any bytes are frames or a BadPacket, what is kept is bounded, and cuts change nothing.

The first byte says whether they are frames or gRPC's messages, the second how they are cut.
"""

from __future__ import annotations

from in_pieces import opened_in_pieces
from tunflow.errors import BadPacket
from tunflow.protocols.codec import ProxyRefused
from tunflow.protocols.transport.gun import GunCodec
from tunflow.protocols.transport.http2 import WINDOW, HTTP2Session
from tunflow.protocols.transport.http2_kinds import grpc_headers, judge_grpc

_SETTINGS = b"\0\0\0\x04\0\0\0\0\0"
_OK = b"\0\0\x01\x01\x04\0\0\0\x01\x88"  # :status 200 on stream 1

SEEDS: list[bytes] = [
    b"\x01\x03" + _SETTINGS + _OK + b"\0\0\x05\0\0\0\0\0\x01hello",
    b"\x01\x01" + _SETTINGS + _OK + b"\0\0\x08\x07\0\0\0\0\0\0\0\0\x01\0\0\0\0",
    b"\x01\x07" + _SETTINGS + b"\0\0\x04\x03\0\0\0\0\x03\0\0\0\x08" + b"\0\0\x04\x08\0\0\0\0\0\0\0\xff\xff",
    b"\x01\xffHTTP/1.1 400 Bad Request\r\n\r\n",
    b"\0\x02\0\0\0\0\x07\x0a\x05hello\0\0\0\0\x04\x0a\0\x0a\0",
    b"\0\x04\0\0\0\0\x03\x12\x01a",
    b"\0\x04\x01\0\0\0\x03\x0a\x01a",
]


def one_input(data: bytes) -> None:
    """Raises only when the invariant is broken."""
    if len(data) < 2:
        return
    feed = _session if data[0] & 1 else _messages
    whole = feed(data[2:], len(data))
    pieces = feed(data[2:], 1 + data[1])
    assert whole is None or pieces is None or whole == pieces


def _session(data: bytes, step: int) -> bytes | None:
    """What comes out of the first stream, or None for a refusal."""
    session = HTTP2Session(grpc_headers("https", "site.example", "way", is_multi=False), judge_grpc)
    session.connected(0.0)
    streams = [session.open(0.0), session.open(0.0)]
    out = b""
    for at in range(0, len(data), step):
        try:
            session.receive_untrusted(data[at : at + step], 1.0)
        except BadPacket as error:
            session.end(error)
            return None
        for stream in streams:
            assert stream is not None
            assert stream.readable <= WINDOW + 1
        session.outgoing(1.0)
        try:
            while streams[0] is not None and streams[0].readable:
                out += b"".join(streams[0].take(1000))
        except ProxyRefused:
            return None
    return out


def _messages(data: bytes, step: int) -> bytes | None:
    """What comes out, or None for a refusal."""
    pieces = opened_in_pieces(GunCodec().open_untrusted, data, step)
    return None if pieces is None else b"".join(pieces)
