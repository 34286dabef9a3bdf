"""How the tests of handshake codecs talk: what the codec says, and answers given whole, byte by byte, with a tail."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tunflow.errors import BadPacket
from tunflow.protocols.codec import StreamCodec


def said(codec: StreamCodec) -> bytes:
    """What the codec has to say by now."""
    return b"".join(codec.seal([]))


def hear(codec: StreamCodec, data: bytes, step: int | None = None) -> bytes:
    """Give the codec bytes, `step` at a time; the flow's bytes that come out. What is not used is presented again."""
    out, waiting = b"", b""
    for at in range(0, len(data), step or max(1, len(data))):
        waiting += data[at : at + (step or len(data))]
        pieces, used = codec.open_untrusted(memoryview(bytearray(waiting)))
        waiting = waiting[used:]
        out += b"".join(pieces)
    assert not waiting or not codec.established, waiting
    return out


def converse(make: Callable[[], StreamCodec], script: Sequence[tuple[bytes, bytes]]) -> None:
    """Each of `script` is what the codec says and what it is told then. The last answer opens the flow."""
    for step in (None, 1, 3):
        codec = make()
        for number, (expected, answer) in enumerate(script):
            assert not codec.established
            assert not codec.transparent
            assert said(codec) == expected
            assert said(codec) == b""
            last = number == len(script) - 1
            assert hear(codec, answer + (b"flow" if last else b""), step) == (b"flow" if last else b"")
        assert codec.established
        assert codec.transparent
        assert b"".join(codec.seal([b"up", b"wards"])) == b"upwards"
        assert hear(codec, b"downwards") == b"downwards"
        assert codec.finish() == []


def refusal_words(codec: StreamCodec, data: bytes) -> str:
    """Give the codec any bytes in small pieces; what it says when it refuses them, else nothing."""
    try:
        hear(codec, data, 7)
    except BadPacket as error:
        return str(error)
    return ""
