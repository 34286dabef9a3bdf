"""VLESS's flow control: any flow and any answer, cut anywhere, pass as they are or are a BadPacket.

The first byte says how the answer is cut; then pieces come, each with a byte that says whose it is and how long.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols.vless.padding import PaddingCommand, Unpadding
from tunflow.protocols.vless.stream import VISION, VLESSClient
from tunflow.protocols.vless.vision import VisionClient

USER = bytes(range(16))
_HELLO = b"\x16\x03\x01\x00\x06\x01\0\0\x02\x03\x03"
_ANSWER = (
    b"\x16\x03\x03\x00\x52\x02\0\0\x4e\x03\x03" + bytes(32) + b"\x20" + bytes(32) + b"\x13\x01\0\0\x06\0\x2b\0\x02\3\4"
)


def _piece(data: bytes, *, is_up: bool = True) -> bytes:
    return bytes((len(data) << 1 | is_up,)) + data


SEEDS: list[bytes] = [
    b"\x05" + _piece(b"SSH-2.0") + _piece(b"\0\0" + USER + b"\1\0\3\0\2abc\0\0more", is_up=False) + _piece(b"x") * 9,
    b"\x01"
    + _piece(_HELLO)
    + _piece(b"\0\0" + USER + b"\0\0\x57\0\0" + _ANSWER, is_up=False)
    + _piece(b"\x17\3\3\0\1a\x17\3\3\0\1b")
    + _piece(b"\2\0\1\0\1a\0bare", is_up=False)
    + _piece(b"bare"),
    b"\xff" + _piece(b"\0\0HTTP/1.1 400", is_up=False),
]


class _Records:
    """TLS that hides nothing. As `TLSLayer`."""

    established = is_tls13 = True
    transparent = False

    def seal(self, pieces: Sequence[Buffer]) -> list[Buffer]:
        return [b"\x17\x03\x03" + len(piece).to_bytes(3, "big")[1:] + bytes(piece) for piece in pieces if len(piece)]

    def open_untrusted(self, data: memoryview) -> tuple[list[Buffer], int]:
        opened: list[Buffer] = []
        at = 0
        while len(data) >= at + 5 and len(data) >= (end := at + 5 + (data[at + 3] << 8 | data[at + 4])):
            opened.append(bytes(data[at + 5 : end]))
            at = end
        return opened, at

    def finish(self) -> list[Buffer]:
        return []


def one_input(data: bytes) -> None:
    """Raises only when the invariant is broken."""
    if not data:
        return
    whole = _exchange(data[1:], len(data))
    pieces = _exchange(data[1:], 1 + data[0])
    assert whole is None or pieces is None or whole == pieces


def _exchange(script: bytes, step: int) -> bytes | None:
    """What comes out for the client, or None for a refusal."""
    outer = _Records()
    codec = VisionClient(outer, VLESSClient(Endpoint("h", 1), USER, addons=VISION), USER, bytes)
    request = VLESSClient(Endpoint("h", 1), USER, addons=VISION).seal([])[0]
    server, sent, got, out, waiting = Unpadding(USER), b"", b"", b"", b""
    while script:
        is_up, size = script[0] & 1, script[0] >> 1
        piece, script = script[1 : 1 + size], script[1 + size :]
        if is_up:
            sent += piece
            wire = b"".join(codec.seal([piece]))
            while wire and server.command is not PaddingCommand.DIRECT:
                end = 5 + (wire[3] << 8 | wire[4])
                got += server.open_untrusted(wire[5:end].removeprefix(bytes(request)))
                wire = wire[end:]
            got += wire
            assert got == sent
            continue
        waiting += piece if waiting else b"".join(outer.seal([piece]))
        while waiting:
            try:
                opened, used = codec.open_untrusted(memoryview(waiting[:step]))
                if not used:
                    opened, used = codec.open_untrusted(memoryview(waiting))
            except BadPacket:
                return None
            waiting = waiting[used:]
            out += b"".join(opened)
            if not used:
                break
    return out
