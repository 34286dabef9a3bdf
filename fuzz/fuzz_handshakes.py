"""Answers of SOCKS and HTTP proxies: any bytes are understood or are a BadPacket, and cuts change nothing.

The first byte chooses the protocol, the second how the answer is cut.
"""

from __future__ import annotations

from collections.abc import Callable

from tunflow.endpoint import Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols.codec import StreamCodec
from tunflow.protocols.handshake import LONGEST_ANSWER
from tunflow.protocols.http.connect import HTTPConnectClient
from tunflow.protocols.socks.client4 import Socks4Client
from tunflow.protocols.socks.client5 import Socks5Client, Socks5Datagrams
from tunflow.protocols.socks.socks5 import Credentials
from tunflow.protocols.transport.websocket import HTTPUpgradeClient, WebSocketClient
from tunflow.protocols.vless.stream import VLESSClient
from tunflow.protocols.vmess.chunks import AES_128_GCM
from tunflow.protocols.vmess.stream import VMessClient

TARGET = Endpoint("example.com", 443)
USER = Credentials(b"user", b"password")
MAKERS: tuple[Callable[[], StreamCodec], ...] = (
    lambda: Socks5Client(TARGET),
    lambda: Socks5Client(TARGET, USER),
    lambda: Socks5Client(TARGET, USER, optimistic=True),
    lambda: Socks5Client(TARGET, optimistic=True),
    lambda: Socks4Client(TARGET, names=True),
    lambda: HTTPConnectClient(TARGET, "Basic eDp5"),
    lambda: VLESSClient(TARGET, bytes(16)),
    lambda: HTTPUpgradeClient("site.example", "/way"),
    lambda: WebSocketClient("site.example", "/way"),
    lambda: VMessClient(TARGET, bytes(16), AES_128_GCM, 0, bytes),  # its "random" bytes are zeros
)

SEEDS: list[bytes] = [
    b"\x00\x01\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50flow",
    b"\x01\x01\x05\x02\x01\x00\x05\x00\x00\x03\x01a\x00\x50flow",
    b"\x02\x07\x05\x02\x01\x00\x05\x00\x00\x04" + bytes(18) + b"flow",
    b"\x03\x02\x05\x00\x05\xf0\x00\x01" + bytes(6),
    b"\x04\x03\x00\x5a\x00\x50\x7f\x00\x00\x01flow",
    b"\x05\x09HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nflow",
    b"\x05\x09HTTP/1.0 407 Proxy Authentication Required\r\n\r\n",
    b"\x0a\x00\x00\x00\x00\x01\x08\x08\x08\x08\x00\x35data",
    b"\x06\x01\x00\x02abflow",
    b"\x09\x03"
    + bytes.fromhex(
        "3e078c0184eec5c4e40752ee7d6acd5ae5df5c6937782c7267948816a7e9151d1855cb8634c75a76dd27e699d48ce32f"
        "2165221ef9d7ec1cfeed9aa4000000000000000000000000000000000000000000000000000000000000002bea30cd63"
        "63e23f92b555d45a0fe9cda0de2a0b579200000000000000000000000000000000000000000000000000000000000000"
        "000000000000000000000000000000000000000000000000000000000000000057c81a415bcf47376180b62d2d4f35af"
        "b1eb000000000000000000000000000000000000000000000000000000000000000000000000"
    ),
    b"\x07\x09HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nflow",
    b"\x08\x09HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x82\x01a",
]


def one_input(data: bytes) -> None:
    """Raises only when the invariant is broken."""
    if len(data) < 2:
        return
    which = data[0] % (len(MAKERS) + 1)
    if which == len(MAKERS):
        _datagram(data[2:])
    else:
        whole = _feed(MAKERS[which](), data[2:], len(data))
        pieces = _feed(MAKERS[which](), data[2:], 1 + data[1])
        assert whole is None or pieces is None or whole == pieces


def _datagram(data: bytes) -> None:
    codec = Socks5Datagrams()
    try:
        peer, payload = codec.open_untrusted(data)
    except BadPacket:
        return
    assert codec.open_untrusted(codec.seal(peer, payload)) == (peer, payload)


def _feed(codec: StreamCodec, data: bytes, step: int) -> bytes | None:
    """What comes out, or None for a refusal."""
    out = waiting = b""
    for at in range(0, len(data), step):
        waiting += data[at : at + step]
        try:
            pieces, used = codec.open_untrusted(memoryview(waiting))
        except BadPacket as refused:
            error = refused
            break
        assert 0 <= used <= len(waiting)
        waiting = waiting[used:]
        assert len(waiting) <= LONGEST_ANSWER + step
        out += b"".join(pieces)
        codec.seal([])
    else:
        return out
    assert str(error).isprintable()
    return None
