"""SIP003 plugins that tunflow speaks: their options, what they say first, and frames both ways."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tunflow.errors import BadPacket, LocalError
from tunflow.outbound.chain import make_outbound
from tunflow.protocols.codec import ProxyRefused
from tunflow.protocols.contract import Carries, FramedDatagrams
from tunflow.protocols.registry import clash_server, parse_server
from tunflow.protocols.shadowsocks.plugin import program_of
from tunflow.protocols.transport.simple_obfs import HTTPObfs, TLSObfs

LINK = "ss://aes-128-gcm:p@192.0.2.1:443/?plugin={}"


def hear(codec, data, step):
    """Give the codec bytes, `step` at a time; what comes out, and what was not used up."""
    out, waiting = b"", b""
    for at in range(0, len(data), step):
        waiting += data[at : at + step]
        pieces, used = codec.open_untrusted(memoryview(bytearray(waiting)))
        waiting = waiting[used:]
        out += b"".join(pieces)
    return out, waiting


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_http(step):
    codec = HTTPObfs("www.example.com:443", "/p", bytes)
    assert codec.established
    assert b"".join(codec.seal([b"flow"])) == (
        b"GET /p HTTP/1.1\r\nHost: www.example.com:443\r\nUser-Agent: curl/7.88.1\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nContent-Length: 4\r\n\r\nflow"
    )
    assert codec.seal([b"more"]) == [b"more"]
    assert not codec.transparent
    answer = b"HTTP/1.1 101 Switching Protocols\r\nServer: nginx/1.0\r\n\r\n"
    assert hear(codec, answer + b"answer", step) == (b"answer", b"")
    assert codec.transparent


def test_http_that_is_none():
    with pytest.raises(ProxyRefused, match="404: obfs-host"):
        hear(HTTPObfs("h", "/", bytes), b"HTTP/1.1 404 Not Found\r\n\r\n", 100)
    with pytest.raises(BadPacket, match="speaks no HTTP"):
        hear(HTTPObfs("h", "/", bytes), bytes(100), 100)
    with pytest.raises(BadPacket, match="has no end"):
        hear(HTTPObfs("h", "/", bytes), b"HTTP/1.1 101 x\r\n" + bytes(20_000), 30_000)


@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_tls(step):
    codec = TLSObfs("www.example.com", bytes, lambda: 1_700_000_000)
    first = bytes(range(256)) * 10
    wire = b"".join(codec.seal([first]))
    assert wire[:3] == b"\x16\x03\x01"
    end = 5 + int.from_bytes(wire[3:5], "big")
    assert int.from_bytes(wire[6:9], "big") == end - 9
    hello, rest = wire[:end], wire[end:]
    assert b"\x00\x23\x04\x00" + first[:1024] in hello  # the ticket
    assert b"\x00\x0fwww.example.com" in hello
    assert rest == b"\x17\x03\x03" + (len(first) - 1024).to_bytes(2, "big") + first[1024:]
    assert b"".join(codec.seal([b"x"])) == b"\x17\x03\x03\x00\x01x"
    greeting = b"\x16\x03\x01\x00\x5b" + bytes(91) + b"\x14\x03\x03\x00\x01\x01"
    data = greeting + b"\x16\x03\x03\x00\x05hello" + b"\x17\x03\x03\x00\x06 there"
    assert hear(codec, data + b"\x17\x03", step) == (b"hello there", b"\x17\x03")


def test_tls_that_is_none():
    for data in (b"HTTP/1.1 400", b"\x16\x03\x01\x00\x5b" + bytes(97) + b"\x15\x03\x03\x00\x02ab"):
        with pytest.raises(BadPacket, match="obfs=tls"):
            hear(TLSObfs("h", bytes, lambda: 0), data, 1000)


@pytest.mark.parametrize(
    "plugin",
    [
        "obfs-local;obfs=http",
        "simple-obfs;obfs=tls;obfs-host=a.example",
        "v2ray-plugin;mux=0",
        "v2ray-plugin;mode=websocket;tls;host=a.example;path=/a\\;b;mux=0",
    ],
)
def test_links_keep_what_they_say(plugin):
    server = parse_server(LINK.format(quote(plugin, safe="")))
    assert server.plugin == plugin
    assert parse_server(server.to_link()) == server
    outbound = make_outbound([server])
    # Datagrams beside the plugin would be what it hides.
    assert Carries.DATAGRAMS not in outbound.carries
    inside = parse_server(LINK.format(quote(plugin, safe="")) + "&udp-over-tcp=yes")
    assert isinstance(make_outbound([inside]).datagrams(), FramedDatagrams)


@pytest.mark.parametrize(
    ("plugin", "reason"),
    [
        (";obfs=http", "plugin is NAME;OPTION=VALUE"),
        ("a plugin", "plugin is NAME;OPTION=VALUE"),
        ("obfs-local;obfs=dns", "obfs is http or tls"),
        ("obfs-local", "obfs is http or tls"),
        ("obfs-local;obfs=http;colour=red", "unknown option 'colour'"),
        ("v2ray-plugin;mode=grpc", "mode grpc is not known"),
        ("v2ray-plugin;sni=a", "unknown option 'sni'"),
        ("v2ray-plugin;mux=0;host=a b", "printable ASCII"),
    ],
)
def test_what_is_not_known_is_refused(plugin, reason):
    with pytest.raises(LocalError, match=reason):
        parse_server(LINK.format(plugin.replace(";", "%3B").replace(" ", "%20")))


@pytest.mark.parametrize(
    ("plugin", "programs", "options"),
    [
        ("v2ray-plugin", ("v2ray-plugin", "ss-v2ray-plugin"), ""),
        ("v2ray-plugin;mode=quic;host=a", ("v2ray-plugin", "ss-v2ray-plugin"), "mode=quic;host=a"),
        ("v2ray-plugin;mux=0;tls;cert=/a.pem", ("v2ray-plugin", "ss-v2ray-plugin"), "mux=0;tls;cert=/a.pem"),
        ("/usr/bin/obfs-local;obfs=http", ("/usr/bin/obfs-local",), "obfs=http"),
        ("ck-client;UID=a\\=;PublicKey=b", ("ck-client",), "UID=a\\=;PublicKey=b"),
    ],
)
def test_others_are_programs(plugin, programs, options):
    found = program_of(plugin)
    assert (found.programs, found.options) == (programs, options)
    server = parse_server(LINK.format(quote(plugin, safe="")))
    assert parse_server(server.to_link()) == server


def test_a_program_that_is_not_here_is_told_of():
    from tunflow.outbound.sessions import KeptSessions

    server = parse_server(LINK.format("no-such-plugin"))
    with pytest.raises(LocalError, match="'no-such-plugin' is a program that is not here"):
        make_outbound([server], sessions=KeptSessions())


def test_who_serves_has_no_plugin():
    with pytest.raises(LocalError, match="serve speaks with no plugin"):
        parse_server(LINK.format("v2ray-plugin%3Bmux%3D0"), listening=True)


@pytest.mark.parametrize("plugin", ["/bin/sh", "poweroff", "./plugin;a=b", "~/x"])
def test_lists_of_others_start_no_programs_but_plugins(plugin):
    link = LINK.format(quote(plugin, safe=""))
    parse_server(link)
    with pytest.raises(LocalError, match="would be a program of this machine that a list names"):
        parse_server(link, is_foreign=True)
    assert parse_server(LINK.format("ck-client"), is_foreign=True).plugin == "ck-client"


@pytest.mark.parametrize(
    ("more", "plugin"),
    [
        ({"plugin": "obfs", "plugin-opts": {"mode": "tls", "host": "a.b"}}, "obfs-local;obfs=tls;obfs-host=a.b"),
        (
            {"plugin": "v2ray-plugin", "plugin-opts": {"mode": "websocket", "tls": True, "host": "a", "mux": False}},
            "v2ray-plugin;mode=websocket;host=a;tls;mux=0",
        ),
        ({"plugin": "v2ray-plugin", "plugin-opts": {"mode": "websocket"}}, "v2ray-plugin;mode=websocket"),
        ({"plugin": "gost-plugin", "plugin-opts": "mode=ws"}, "gost-plugin;mode=ws"),
        ({"plugin": "obfs-local", "plugin-opts": "obfs=http;obfs-host=a.b"}, "obfs-local;obfs=http;obfs-host=a.b"),
    ],
)
def test_clash_entries(more, plugin):
    entry = {"name": "n", "type": "ss", "server": "h", "port": "1", "cipher": "aes-128-gcm", "password": "p"}
    server, unread = clash_server(entry | more)
    assert (server.plugin, unread) == (plugin, [])
    assert parse_server(server.to_link()) == server


@pytest.mark.parametrize(
    "more",
    [
        {"plugin": "shadow-tls"},
        {"plugin": "obfs", "plugin-opts": {"mode": "http", "uri": "/x"}},
        {"plugin": "v2ray-plugin", "plugin-opts": {"headers": {"a": "b"}}},
        {"plugin": "v2ray-plugin", "plugin-opts": {"tls": True, "skip-cert-verify": True}},
    ],
)
def test_clash_entries_that_are_refused(more):
    entry = {"name": "n", "type": "ss", "server": "h", "port": "1", "cipher": "aes-128-gcm", "password": "p"}
    with pytest.raises(LocalError, match=r"not supported|a list names"):
        clash_server(entry | more)
