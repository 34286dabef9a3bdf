"""The servers' ends of Trojan and VLESS: against the clients' ends, in WebSocket, and against who knows nothing."""

from __future__ import annotations

from uuid import UUID

import pytest
from talk import hear, said

from tunflow.endpoint import Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols.chain import ChainedStream
from tunflow.protocols.codec import Datagram, ProxyRefused
from tunflow.protocols.transport.served import WebSocketServer
from tunflow.protocols.transport.websocket import WebSocketClient
from tunflow.protocols.trojan.server import trojan_served
from tunflow.protocols.trojan.stream import ASSOCIATE, TrojanFrames, key_of
from tunflow.protocols.trojan.stream import client as trojan_client
from tunflow.protocols.vless.server import vless_served
from tunflow.protocols.vless.stream import DATAGRAMS, VLESSClient, VLESSFrames
from tunflow.protocols.xudp import COMMAND, XUDPFrames

TARGET = Endpoint("example.com", 443)
USER = UUID("01234567-89ab-cdef-0123-456789abcdef").bytes
KEYS = {key_of("other"), key_of("secret")}
PAIRS = [
    (lambda: trojan_client(TARGET, "secret"), lambda: trojan_served(KEYS)),
    (lambda: VLESSClient(TARGET, USER), lambda: vless_served({USER})),
]


@pytest.mark.parametrize("step", [None, 1, 3])
@pytest.mark.parametrize(("client", "server"), PAIRS)
def test_a_stream_both_ways(client, server, step):
    near, far = client(), server()
    assert far.seal([]) == []
    assert hear(far, b"".join(near.seal([b"up"])), step) == b"up"
    assert far.target == TARGET
    assert far.frames is None
    assert hear(near, b"".join([*far.seal([b"down"]), *far.seal([b"wards"])]), step) == b"downwards"
    assert far.finish() == []


@pytest.mark.parametrize(
    ("client", "server", "frames", "is_per_target"),
    [
        (trojan_client(TARGET, "secret", ASSOCIATE), trojan_served(KEYS), TrojanFrames(), False),
        (VLESSClient(TARGET, USER, DATAGRAMS), vless_served({USER}), VLESSFrames(TARGET), True),
        (VLESSClient(TARGET, USER, COMMAND), vless_served({USER}), XUDPFrames(), False),
    ],
)
def test_datagrams_both_ways(client, server, frames, is_per_target):
    flow = hear(server, b"".join(client.seal(frames.seal(TARGET, b"ping"))), 3)
    assert server.is_per_target == is_per_target
    assert server.target is not None
    assert server.frames.open_untrusted(memoryview(flow)) == ([Datagram(TARGET, b"ping")], len(flow))
    back = hear(client, b"".join(server.seal(server.frames.seal(TARGET, b"pong"))))
    assert frames.open_untrusted(memoryview(back))[0] == [Datagram(TARGET, b"pong")]


@pytest.mark.parametrize(
    ("make", "data", "words"),
    [
        (PAIRS[0][1], key_of("wrong"), "no password that is known"),
        (PAIRS[0][1], key_of("secret") + b"\r\n\x09\x01\x7f\0\0\x01\0\x50\r\n", "Trojan request is none"),
        (PAIRS[0][1], key_of("secret") + b"\r\n\x01\x01\x7f\0\0\x01\0\x50xx", "Trojan request is none"),
        (PAIRS[1][1], b"GET / HTTP/1.1\r\n\r\n", "no VLESS of version 0"),
        (PAIRS[1][1], bytes(17), "no user id that is known"),
        (PAIRS[1][1], b"\0" + USER + b"\x02ab\x01", "flow control .xtls-rprx-vision., which is not served"),
        (PAIRS[1][1], b"\0" + USER + b"\0\x07", "VLESS command is 7"),
    ],
)
@pytest.mark.parametrize("step", [None, 1])
def test_who_knows_nothing_hears_nothing(make, data, words, step):
    codec = make()
    with pytest.raises(BadPacket, match=words):
        hear(codec, data, step)
    assert codec.target is None
    assert codec.seal([]) == []


@pytest.mark.parametrize("step", [None, 1])
def test_in_a_websocket(step):
    near = ChainedStream(WebSocketClient("site.example", "/way?ed=1"), PAIRS[1][0]())
    protocol = PAIRS[1][1]()
    far = ChainedStream(WebSocketServer("/way"), protocol)
    assert hear(far, said(near), step) == b""
    assert hear(near, b"".join(far.seal([])), step) == b""
    assert hear(far, b"".join(near.seal([b"up"])), step) == b"up"
    assert protocol.target == TARGET
    assert hear(near, b"".join(far.seal([b"down"])), step) == b"down"
    stranger, server = WebSocketClient("site.example", "/other"), WebSocketServer("/way")
    with pytest.raises(BadPacket, match="another path"):
        hear(server, said(stranger))
    with pytest.raises(ProxyRefused, match="404"):
        hear(stranger, b"".join(server.seal([])))
    with pytest.raises(BadPacket, match="no WebSocket"):
        hear(WebSocketServer("/way"), b"\x16\x03\x01\x02\x00garbage\r\n\r\n")
