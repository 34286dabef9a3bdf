"""Frames of datagrams in streams: any bytes are frames or a BadPacket, and cuts change nothing.

The first byte chooses the protocol, the second how the stream is cut.
"""

from __future__ import annotations

from collections.abc import Callable

from in_pieces import opened_in_pieces
from tunflow.endpoint import Endpoint
from tunflow.protocols.codec import Datagram, StreamDatagramCodec
from tunflow.protocols.trojan.stream import TrojanFrames
from tunflow.protocols.udp_over_tcp import UDPOverTCP
from tunflow.protocols.vless.stream import VLESSFrames
from tunflow.protocols.xudp import XUDPFrames

TARGET = Endpoint("example.com", 443)
LONGEST_FRAME = 132_000
MAKERS: tuple[Callable[[], StreamDatagramCodec], ...] = (
    TrojanFrames,
    lambda: VLESSFrames(TARGET),
    lambda: UDPOverTCP(1, TARGET),
    XUDPFrames,
)

SEEDS: list[bytes] = [
    b"\x00\x00\x01\x0a\x00\x00\x01\x005\x00\x03\r\none\x03\x01a\x00\x35\x00\x00\r\n",
    b"\x01\x02\x00\x03one\x00\x00\x00\x01a",
    b"\x03\x02\x00\x0c\x00\x00\x02\x01\x02\x005\x01\x0a\x00\x00\x01\x00\x03one\x00\x04\x00\x00\x02\x01\x00\x01a",
    b"\x02\x05\x00\x0a\x00\x00\x01\x005\x00\x03one\x02\x01a\x00\x35\x00\x00",
]


def one_input(data: bytes) -> None:
    """Raises only when the invariant is broken."""
    if len(data) < 2:
        return
    make = MAKERS[data[0] % len(MAKERS)]
    whole = _feed(make(), data[2:], len(data))
    pieces = _feed(make(), data[2:], 1 + data[1])
    assert whole is None or pieces is None or whole == pieces


def _feed(frames: StreamDatagramCodec, data: bytes, step: int) -> list[Datagram] | None:
    """What comes out, or None for a refusal."""
    return opened_in_pieces(frames.open_untrusted, data, step, LONGEST_FRAME)
