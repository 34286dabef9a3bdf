from __future__ import annotations

from talk import hear, said

from tunflow.endpoint import Endpoint, endpoint
from tunflow.protocols.chain import ChainedDatagrams, ChainedStream
from tunflow.protocols.http.connect import HTTPConnectClient
from tunflow.protocols.shadowsocks.keys import master_key
from tunflow.protocols.shadowsocks.methods import METHODS
from tunflow.protocols.shadowsocks.replay import ReplayFilter
from tunflow.protocols.shadowsocks.stream import ClientStream, ServerStream
from tunflow.protocols.socks.client4 import Socks4Client
from tunflow.protocols.socks.client5 import Socks5Client, Socks5Datagrams

METHOD = METHODS["aes-128-gcm"]
KEY = master_key("test", METHOD.key_size)
NEXT = Endpoint("next.example", 1080)
TARGET = Endpoint("site.example", 80)
OK = b"HTTP/1.1 200 OK\r\n\r\n"


def test_each_server_is_asked_once_the_one_before_agreed():
    codec = ChainedStream(HTTPConnectClient(NEXT), Socks5Client(TARGET))
    assert said(codec) == b"CONNECT next.example:1080 HTTP/1.1\r\nHost: next.example:1080\r\n\r\n"
    assert said(codec) == b""
    assert hear(codec, OK, 1) == b""
    assert said(codec) == b"\x05\x01\x00"
    assert hear(codec, b"\x05\x00") == b""
    assert said(codec).endswith(b"site.example\x00\x50")
    assert not codec.established
    assert hear(codec, b"\x05\x00\x00\x01" + bytes(6) + b"flow", 1) == b"flow"
    assert codec.established
    assert codec.transparent
    assert hear(codec, b"more") == b"more"


def test_answers_of_both_in_one_read():
    codec = ChainedStream(HTTPConnectClient(NEXT), Socks4Client(TARGET, names=True))
    assert said(codec).startswith(b"CONNECT")
    assert hear(codec, OK + b"\x00\x5a" + bytes(6) + b"flow") == b"flow"


def test_shadowsocks_behind_a_proxy_waits_for_it_and_one_before_it_does_not():
    salt = bytes(range(16))
    behind = ChainedStream(Socks4Client(NEXT, names=True), ClientStream(METHOD, KEY, TARGET, salt))
    assert said(behind)[:2] == b"\x04\x01"
    assert not behind.established
    hear(behind, b"\x00\x5a" + bytes(6))
    assert behind.established
    assert not behind.transparent
    server = ServerStream(METHOD, KEY, bytes(16), ReplayFilter())
    assert hear(server, b"".join(behind.seal([b"hello"]))) == b"hello"
    assert server.target == TARGET

    before = ChainedStream(ClientStream(METHOD, KEY, NEXT, salt), HTTPConnectClient(TARGET))
    server = ServerStream(METHOD, KEY, bytes(16), ReplayFilter())
    assert hear(server, said(before)).startswith(b"CONNECT site.example:80 ")
    assert not before.established
    assert hear(before, b"".join(server.seal([OK + b"flow"])), 5) == b"flow"
    assert before.established
    assert not before.transparent


def test_datagrams_nest():
    codec = ChainedDatagrams(Socks5Datagrams(), Socks5Datagrams(), endpoint("10.0.0.9", 1080))
    peer = endpoint("8.8.8.8", 53)
    wire = codec.seal(peer, b"q")
    outer, inside = Socks5Datagrams().open_untrusted(wire)
    assert outer == endpoint("10.0.0.9", 1080)
    assert Socks5Datagrams().open_untrusted(inside) == (peer, b"q")
    assert codec.open_untrusted(wire) == (peer, b"q")
