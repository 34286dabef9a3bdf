"""What clients say to a local proxy port: any bytes are understood or are a BadPacket, and cuts change nothing.

The first byte chooses whether a password is wanted, the second how the rest is cut.
"""

from __future__ import annotations

from tunflow.errors import BadPacket
from tunflow.inbound.client_request import Inbound
from tunflow.protocols.codec import Refusal

SEEDS: list[bytes] = [
    b"\x00\x01\x05\x01\x00\x05\x01\x00\x03\x0bexample.com\x01\xbbflow",
    b"\x01\x02\x05\x02\x00\x02\x01\x01u\x01p\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00",
    b"\x00\x03\x04\x01\x00\x50\x00\x00\x00\x01me\x00example.com\x00flow",
    b"\x00\x09CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: x\r\n\r\nflow",
    b"\x01\x09GET http://u@example.com:81/a?b HTTP/1.1\r\nProxy-Authorization: Basic dTpw\r\nX: y\r\n\r\nbody",
    b"\x00\x00GET /proxy.pac HTTP/1.0\n\n",
]


def one_input(data: bytes) -> None:
    """Raises only when the invariant is broken."""
    if len(data) < 2:
        return
    credentials = ("u", "p") if data[0] & 1 else None
    whole = _feed(Inbound(credentials), data[2:], len(data))
    pieces = _feed(Inbound(credentials), data[2:], 1 + data[1])
    assert whole == pieces


def _feed(inbound: Inbound, data: bytes, step: int) -> object:
    """What it made of the bytes; None for a refusal."""
    out = b""
    for at in range(0, len(data), step):
        piece = memoryview(data)[at : at + step]
        try:
            pieces, used = inbound.open_untrusted(piece)
        except BadPacket:
            return None
        assert used == len(piece)
        out += b"".join(pieces)
    inbound.refused(Refusal.FAILED, "x")
    return out, inbound.wish, inbound.target, inbound.say
