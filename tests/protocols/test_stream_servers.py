"""Trojan and VLESS: their first words, the transports below them, links and Clash entries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from talk import hear, said
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Pong, RejectConnection, Request

from tunflow.endpoint import Endpoint
from tunflow.errors import BadPacket, LocalError
from tunflow.protocols.chain import ChainedStream
from tunflow.protocols.codec import ProxyRefused
from tunflow.protocols.registry import clash_server, parse_server
from tunflow.protocols.transport.transport import Reality, Transport
from tunflow.protocols.transport.websocket import HTTPUpgradeClient, WebSocketClient
from tunflow.protocols.trojan.settings import TrojanServer
from tunflow.protocols.trojan.stream import client as trojan_client
from tunflow.protocols.vless.settings import VLESSServer
from tunflow.protocols.vless.stream import VLESSClient

TARGET = Endpoint("example.com", 443)
USER = "01234567-89ab-cdef-0123-456789abcdef"
PIN = "0f" * 32
SECRET = "S3CRET"


def test_trojan_says_the_hash_and_the_target_first():
    codec = trojan_client(TARGET, "password")
    sha224 = b"d63dc919e201d7bc4c825630d2cf25fdc93d4b2f0d46706d29038d01"  # of "password", as sha224sum has it
    request = sha224 + b"\r\n\x01\x03\x0bexample.com\x01\xbb\r\n"
    assert codec.established
    assert not codec.transparent
    assert b"".join(codec.seal([b"flow"])) == request + b"flow"
    assert codec.transparent
    assert codec.seal([b"more"]) == [b"more"]
    assert hear(codec, b"answer", 1) == b"answer"


@pytest.mark.parametrize(
    ("target", "where"),
    [
        (TARGET, b"\x01\xbb\x02\x0bexample.com"),
        (Endpoint(b"\x7f\0\0\x01", 80), b"\0P\x01\x7f\0\0\x01"),
        (Endpoint(bytes(15) + b"\x01", 80), b"\0P\x03" + bytes(15) + b"\x01"),
    ],
)
@pytest.mark.parametrize("step", [None, 1, 3])
def test_vless_says_the_id_and_the_target_and_skips_the_answers_head(target, where, step):
    codec = VLESSClient(target, bytes.fromhex(USER.replace("-", "")))
    assert codec.established
    request = b"\0\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef\0\x01" + where
    assert b"".join(codec.seal([b"up"])) == request + b"up"
    assert not codec.transparent
    assert hear(codec, b"\0\x03abcdown", step) == b"down"
    assert codec.transparent


def test_what_is_no_vless_server():
    with pytest.raises(BadPacket, match="no VLESS server"):
        hear(VLESSClient(TARGET, bytes(16)), b"HTTP/1.1 400 Bad Request\r\n\r\n", 1)


@pytest.mark.parametrize("step", [None, 1, 3])
def test_a_websocket_carries_both_ways_and_answers_pings(step):
    codec, server = WebSocketClient("site.example", "/ray"), WSConnection(ConnectionType.SERVER)
    server.receive_data(said(codec))
    (request,) = server.events()
    assert isinstance(request, Request)
    assert (request.host, request.target) == ("site.example", "/ray")
    assert not codec.established
    big = bytes(range(256)) * 300
    answer = server.send(AcceptConnection()) + server.send(BytesMessage(big[:10])) + server.send(Ping(b"?"))
    assert hear(codec, answer + server.send(BytesMessage(big[10:])), step) == big
    assert codec.established
    server.receive_data(b"".join(codec.seal([b"up", b"wards"])))
    pong, message = server.events()
    assert isinstance(pong, Pong)
    assert isinstance(message, BytesMessage)
    assert message.data == b"upwards"
    assert codec.finish() == []
    assert hear(codec, server.send(CloseConnection(1000))) == b""


def test_who_refuses_the_upgrade_is_named():
    codec, server = WebSocketClient("site.example", "/ray"), WSConnection(ConnectionType.SERVER)
    server.receive_data(said(codec))
    list(server.events())
    with pytest.raises(ProxyRefused, match="404 to the upgrade: check the path and the host"):
        hear(codec, server.send(RejectConnection(status_code=404)))
    with pytest.raises(BadPacket, match="no WebSocket server"):
        hear(WebSocketClient("a", "/"), b"\x05\x00garbage\r\n\r\n")
    with pytest.raises(BadPacket, match="no WebSocket server"):
        hear(WebSocketClient("a", "/"), b"HTTP/1.1 101 Yes\r\nConnection: \xff\r\n\r\n")
    with pytest.raises(ProxyRefused, match="404 to the upgrade"):
        hear(HTTPUpgradeClient("a", "/"), b"HTTP/1.1 404 Not Found\r\n\r\n")
    with pytest.raises(BadPacket, match="no HTTP server"):
        hear(HTTPUpgradeClient("a", "/"), b"SSH-2.0-OpenSSH_9\r\n")


@pytest.mark.parametrize("step", [None, 1])
def test_vless_on_an_http_upgrade(step):
    codec = ChainedStream(HTTPUpgradeClient("h", "/p"), VLESSClient(TARGET, bytes(16)))
    assert said(codec) == b"GET /p HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert hear(codec, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", step) == b""
    assert codec.established
    assert b"".join(codec.seal([b"up"])).startswith(bytes(18) + b"\x01")
    assert hear(codec, b"\0\0down", step) == b"down"
    assert codec.transparent


TLS = Transport(tls=True)
PBK = "jNXHt1yRo0vDuchQlIP6Z0ZvjT3KtzVI-T4E7RoLJS0"
KNOWN = Reality(PBK, "0123abcd", "/x", "A" * 2602 + "A")


@pytest.mark.parametrize(
    ("link", "server"),
    [
        ("trojan://p%40ss@host", TrojanServer("host", 443, "p@ss", TLS)),
        (
            "trojan://p@[::1]:8443?peer=a.example#x",
            TrojanServer("::1", 8443, "p", Transport(tls=True, sni="a.example"), "x"),
        ),
        ("trojan://p@h:1?allowInsecure=1", TrojanServer("h", 1, "p", Transport(tls=True, insecure=True))),
        (f"vless://{USER}@h:1?encryption=none", VLESSServer("h", 1, USER, Transport())),
        (
            f"vless://{USER}@h:1?security=tls&type=ws&host=b.example&path=%2Fr%3Fed%3D2048&fp=chrome&alpn=h2,http/1.1",
            VLESSServer(
                "h", 1, USER, Transport("ws", True, None, ("http/1.1",), browser="chrome", host="b.example", path="/r")
            ),
        ),
        (
            f"vless://{USER}@h:1?security=tls&type=grpc&serviceName=s&mode=multi&authority=a.example&alpn=h2",
            VLESSServer("h", 1, USER, Transport("grpc", True, None, ("h2",), host="a.example", path="s", multi=True)),
        ),
        (f"vless://{USER}@h:1?type=h2&path=/p", VLESSServer("h", 1, USER, Transport("http", path="/p"))),
        (f"vless://{USER}@h:1?type=splithttp&mode=auto", VLESSServer("h", 1, USER, Transport("xhttp"))),
        (
            f"vless://{USER}@h:1?security=tls&flow=xtls-rprx-vision",
            VLESSServer("h", 1, USER, Transport(tls=True), flow="xtls-rprx-vision"),
        ),
        (
            f"vless://{USER}@h:1?security=tls&flow=xtls-rprx-vision-udp443",
            VLESSServer("h", 1, USER, Transport(tls=True), flow="xtls-rprx-vision-udp443"),
        ),
        (
            f"vless://{USER}@h:1?security=reality&sni=a.example&fp=chrome&pbk={PBK}&sid=0123ABCD&spx=%2Fx&allowInsecure=1"
            f"&pqv={'A' * 2603}",
            VLESSServer("h", 1, USER, Transport(tls=True, sni="a.example", browser="chrome", reality=KNOWN)),
        ),
        (
            f"trojan://p@h:1?security=reality&pbk={PBK}&type=grpc&serviceName=s",
            TrojanServer("h", 1, "p", Transport("grpc", True, path="s", reality=Reality(PBK))),
        ),
        (
            f"vless://{USER}@h:1?security=tls&pcs={PIN.upper()}",
            VLESSServer("h", 1, USER, Transport(tls=True, pinned=PIN)),
        ),
    ],
)
def test_links(link, server):
    assert parse_server(link) == server
    assert parse_server(server.to_link()) == server


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        ("trojan://h:1", "has no password"),
        (
            f"trojan://{SECRET}@h:1?type=kcp",
            "kcp is not supported; tcp, ws, httpupgrade, grpc, http, xhttp",
        ),
        (f"trojan://{SECRET}@h:1?type=grpc&mode=raw", "mode=raw of grpc is not supported; gun and multi are"),
        (f"trojan://{SECRET}@h:1?type=xhttp&mode=packet-up", "mode=packet-up of xhttp is not supported; stream-one is"),
        (f"trojan://{SECRET}@h:1?mode=gun", "mode goes with type=grpc"),
        (f"trojan://{SECRET}@h:1?type=grpc&alpn=http/1.1", "alpn of grpc is h2"),
        (f"trojan://{SECRET}@h:1?fp=netscape", "fp=netscape is not known; chrome, firefox, "),
        (f"trojan://{SECRET}@h:1?security=xtls", "security=xtls is not supported; none, tls, reality are"),
        (f"trojan://{SECRET}@h:1?mux=1", "mux 1 is not supported; h2mux, smux, yamux, mux.cool are"),
        (f"trojan://{SECRET}@h:1?allowInsecure=maybe", "allowInsecure in a trojan:// link is 1 or 0"),
        (f"trojan://{SECRET}@h:1?pcs=00", "64 hexadecimal digits"),
        (f"trojan://{SECRET}@h:1?type=ws&path=/%0d%0aX:y", "printable ASCII"),
        (f"trojan://{SECRET}@h:1?sni=.example", "sni is a host name"),
        (f"trojan://{SECRET}@h:1?sni={'a' * 64}.example", "sni is a host name"),
        (f"trojan://{SECRET}@h:1?type=ws&alpn=h2", "alpn of ws is http/1.1"),
        (f"vless://{SECRET}@h:1", "no UUID"),
        (f"vless://{USER}@h:1?security=reality&pbk=x&sid=y", "43 characters of base64"),
        (f"vless://{USER}@h:1?security=reality", "security=reality goes with the server's public key (pbk)"),
        (f"vless://{USER}@h:1?flow=xtls-rprx-vision", "is for type=tcp with security=tls or reality"),
        (f"vless://{USER}@h:1?flow=xtls-rprx-vision&security=tls&type=grpc", "is for type=tcp with security=tls"),
        (f"vless://{USER}@h:1?flow=xtls-rprx-direct&security=tls", "xtls-rprx-direct is not supported; xtls-rprx-vis"),
        (f"vless://{USER}@h:1?encryption=mlkem768", "encryption=mlkem768 is not supported; none is"),
        (f"vless://{USER}@h:1?pcs={PIN}", "no TLS (security=tls)"),
    ],
)
def test_what_cannot_be_had_is_refused_in_one_line(link, reason):
    with pytest.raises(LocalError) as caught:
        parse_server(link)
    assert reason in str(caught.value)
    assert SECRET not in str(caught.value)
    assert str(caught.value).isprintable()


def entry(kind, **more):
    return {"name": "n", "type": kind, "server": "h", "port": "1", **more}


def test_clash_entries():
    options = {"path": "/r", "headers": {"Host": "b.example"}, "max-early-data": "2048"}
    made, unread = clash_server(entry("trojan", password="p", sni="a", network="ws", **{"ws-opts": options}))
    assert made == TrojanServer("h", 1, "p", Transport("ws", True, "a", host="b.example", path="/r"), "n")
    assert unread == []
    more = {"skip-cert-verify": "true", "client-fingerprint": "chrome", "alpn": ["h2"]}
    made, unread = clash_server(entry("vless", uuid=USER, tls="true", servername="a", **more))
    assert made == VLESSServer("h", 1, USER, Transport("tcp", True, "a", ("h2",), None, True, "chrome"), "n")
    assert unread == []
    made, unread = clash_server(entry("vless", uuid=USER, network="grpc", **{"grpc-opts": {"grpc-service-name": "s"}}))
    assert (made.transport, unread) == (Transport("grpc", path="s"), [])
    made, unread = clash_server(entry("vless", uuid=USER, network="h2", **{"h2-opts": {"host": ["a"], "path": "/r"}}))
    assert (made.transport, unread) == (Transport("http", host="a", path="/r"), [])
    reality = {"public-key": PBK, "short-id": "0123abcd", "support-x25519mlkem768": True}
    more = {"tls": "true", "servername": "a.example", "skip-cert-verify": "true", "flow": "xtls-rprx-vision"}
    made, unread = clash_server(entry("vless", uuid=USER, **{"reality-opts": reality, **more}))
    known = Transport(tls=True, sni="a.example", reality=Reality(PBK, "0123abcd"))
    assert (made, unread) == (VLESSServer("h", 1, USER, known, "n", flow="xtls-rprx-vision"), [])
    upgrade = {"ws-opts": {"v2ray-http-upgrade": "true"}}
    made, _ = clash_server(entry("vless", uuid=USER, network="ws", **upgrade))
    assert made.transport.network == "httpupgrade"


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"reality-opts": {"public-key": "x"}}, "43 characters of base64"),
        ({"reality-opts": {"short-id": "01"}}, "which needs pbk"),
        ({"reality-opts": {"public-key": PBK, "spider": "x"}}, "reality-opts has spider"),
        ({"network": "kcp"}, "kcp is not supported"),
        ({"network": "http"}, "a disguise in HTTP/1, which is not supported"),
        ({"network": "grpc", "grpc-opts": {"grpc-mode": "x"}}, "grpc-opts has grpc-mode"),
        ({"flow": "xtls-rprx-vision"}, "flow=xtls-rprx-vision is for type=tcp with security=tls"),
        ({"flow": "xtls-rprx-direct", "tls": "true"}, "flow=xtls-rprx-direct"),
        ({"network": "ws", "ws-opts": {"headers": {"Cookie": "x"}}}, r"ws-opts\.headers has Cookie"),
        ({"network": "ws", "ws-opts": {"padding": "x"}}, "ws-opts has padding"),
        ({"skip-cert-verify": "true"}, "no TLS"),
    ],
)
def test_clash_entries_that_cannot_be_had(more, reason):
    with pytest.raises(LocalError, match=reason):
        clash_server(entry("vless", uuid=USER, **more))


WORD = st.from_regex(r"[!-~]{1,20}", fullmatch=True)
TRANSPORTS = st.builds(
    Transport,
    st.sampled_from(["tcp", "ws", "httpupgrade", "xhttp", "http", "grpc"]),
    st.just(True),
    st.none() | st.from_regex(r"[a-z]{1,20}(\.[a-z]{1,9}){0,3}", fullmatch=True),
    st.just(()),
    st.sampled_from([None, PIN]),
    st.booleans(),
    st.sampled_from([None, "chrome", "Firefox"]),
    st.none() | WORD,
    WORD.filter(lambda word: "?ed=" not in word).map(lambda word: f"/{word}"),
)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), TRANSPORTS, st.none() | WORD)
def test_links_parse_back_equal(password, transport, tag):
    for server in (TrojanServer("h", 1, password, transport, tag), VLESSServer("h", 1, USER, transport, tag)):
        assert parse_server(server.to_link()) == server
