"""What the server of a mux says: any bytes are frames or a BadPacket, what is kept is bounded, and cuts change nothing.

The first byte says which protocol, the second how they are cut.
"""

from __future__ import annotations

from collections.abc import Callable

from in_pieces import opened_in_pieces
from tunflow.endpoint import Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols.codec import StreamCodec
from tunflow.protocols.mux import cool, smux, yamux
from tunflow.protocols.mux.frame_session import UNREAD, FrameSession
from tunflow.protocols.mux.preface import PaddedStream
from tunflow.protocols.mux.request import AddressedFrames, StreamRequest

_SITE = Endpoint("site.example", 80)
_SESSIONS: tuple[Callable[[], FrameSession], ...] = (
    lambda: smux.SmuxSession(4),
    lambda: yamux.YamuxSession(4),
    lambda: cool.CoolSession(4),
)
_CODECS: tuple[Callable[[], StreamCodec], ...] = (lambda: StreamRequest(_SITE), lambda: PaddedStream(b"\1\1\1", bytes))

SEEDS: list[bytes] = [
    b"\0\1" + smux.frame(smux.PUSH, 1, b"hello") + smux.frame(smux.FIN, 1) + smux.frame(smux.NOTHING, 0),
    b"\1\3" + yamux.frame(yamux.DATA, yamux.ACK, 1, 5, b"hello") + yamux.frame(yamux.WINDOW_UPDATE, yamux.FIN, 1, 9),
    b"\1\x07" + yamux.frame(yamux.PING, yamux.SYN, 0, 7) + yamux.frame(yamux.GO_AWAY, 0, 0, 0),
    b"\2\2" + cool.frame(1, cool.KEEP, data=b"hello") + cool.frame(1, cool.END) + cool.frame(0, cool.ALIVE),
    b"\3\1\0hello",
    b"\3\1\1\x05wrong",
    b"\4\2\0\5\0\2hello\0\0\0\1\0\0x",
    b"\5\1\1\xc0\0\2\1\0\x35\0\2ab",
    b"\0\xffHTTP/1.1 400 Bad Request\r\n\r\n",
]


def one_input(data: bytes) -> None:
    """Raises only when the invariant is broken."""
    if len(data) < 2:
        return
    which = data[0] % 6
    feed = _session if which < 3 else _codec if which < 5 else _frames
    whole = feed(which, data[2:], len(data))
    pieces = feed(which, data[2:], 1 + data[1])
    assert whole is None or pieces is None or whole == pieces


def _session(which: int, data: bytes, step: int) -> bytes | None:
    """What comes out of the first stream, or None for a refusal."""
    session = _SESSIONS[which]()
    session.connected(0.0)
    stream = session.open(0.0)
    assert stream is not None
    stream.send(cool.cool_target(_SITE).seal([b"data"]), 0.0)
    out = b""
    for at in range(0, len(data), step):
        try:
            session.receive_untrusted(data[at : at + step], 1.0)
        except BadPacket as error:
            session.end(error)
            return None
        assert stream.readable <= UNREAD + 65536
        while session.outgoing(1.0):
            pass
        while stream.readable:
            out += b"".join(stream.take(1000))
    return out


def _codec(which: int, data: bytes, step: int) -> bytes | None:
    pieces = opened_in_pieces(_CODECS[which - 3]().open_untrusted, data, step)
    return None if pieces is None else b"".join(pieces)


def _frames(_which: int, data: bytes, step: int) -> bytes | None:
    datagrams = opened_in_pieces(AddressedFrames().open_untrusted, data, step)
    return None if datagrams is None else b"".join(bytes(each.payload) for each in datagrams)
