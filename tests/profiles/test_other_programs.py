"""Servers as other programs write them, and what a file is that has none."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest

from cost import times_slower
from tunflow.errors import BadPacket, LocalError
from tunflow.profiles.imports.fetch import ServerReply
from tunflow.profiles.imports.foreign_json import loads_untrusted
from tunflow.profiles.imports.importer import Imported, ImportSource, import_profile, read_source
from tunflow.profiles.imports.outbounds import link_of_entry, of_sing_box
from tunflow.protocols.registry import parse_server

OURS = {"server": "192.0.2.1", "server_port": 8388, "method": "aes-256-gcm", "password": "p"}


def imported(content: str | bytes) -> Imported:
    return import_profile(ImportSource(content.encode() if isinstance(content, str) else content, "the file", "given"))


def links(made: Imported) -> list[str]:
    profile = made.profile
    return [link.text for link in (*profile.server, *(section.url for section in profile.servers.values()))]


def test_a_sing_box_file_gives_its_servers() -> None:
    outbounds = [
        {**OURS, "type": "shadowsocks", "tag": "a"},
        {"type": "socks", "tag": "s", "server": "2001:db8::1", "server_port": 1080, "username": "u", "password": "p"},
        {"type": "http", "tag": "h", "server": "h.example", "server_port": 8080},
        {**OURS, "type": "shadowsocks", "tag": "plugin", "plugin": "kcptun"},
        {"type": "http", "tag": "tls", "server": "h.example", "server_port": 443, "tls": {"enabled": True}},
        {"type": "snell", "tag": "v", "server": "h.example", "server_port": 443},
        {"type": "direct", "tag": "direct"},
    ]
    made = imported(json.dumps({"outbounds": outbounds}))
    assert [parse_server(link).label for link in links(made)] == [
        "ss://aes-256-gcm@192.0.2.1:8388#a",
        "socks5://[2001:db8::1]:1080#s",
        "http://h.example:8080#h",
        "https://h.example:443#tls",
    ]
    assert [(each.place, each.reason.split(" is not")[0].split(" would")[0]) for each in made.told] == [
        ("outbounds[3]", "the plugin 'kcptun'"),
        ("outbounds[5]", "type snell"),
    ]


def test_a_file_of_shadowsocks_rust_gives_the_servers_that_are_on() -> None:
    text = """{ // JSON5, as it is read there
      "servers": [
        {"address": "192.0.2.1", "port": 8388, "method": "aes-256-gcm", "password": "p//q"}, /* first */
        {"disabled": true, "server": "192.0.2.2", "server_port": 8388, "method": "aes-256-gcm", "password": "p"},
      ],
    }"""
    (link,) = links(imported(text))
    server = parse_server(link)
    assert (server.first_hop, server.password) == (("192.0.2.1", 8388), "p//q")


@pytest.mark.parametrize("key", ["prefix", "transport"])
def test_an_outline_key_with_more_than_a_server_is_not_one_without_it(key: str) -> None:
    assert imported(json.dumps(OURS)).profile.server
    with pytest.raises(LocalError, match=f"{key} is not supported"):
        imported(json.dumps({**OURS, key: "x"}))


ID = "01234567-89ab-cdef-0123-456789abcdef"
TLS = {
    "enabled": True,
    "server_name": "s.example",
    "alpn": ["http/1.1"],
    "utls": {"enabled": True, "fingerprint": "chrome"},
}
AT = {"server": "h.example", "server_port": 443}


@pytest.mark.parametrize(
    ("outbound", "link"),
    [
        (
            {"type": "trojan", "password": "p", "tls": TLS},
            "trojan://p@h.example:443?sni=s.example&alpn=http%2F1.1&fp=chrome#x",
        ),
        (
            {"type": "vless", "uuid": ID, "packet_encoding": "xudp", "tls": {"enabled": True, "insecure": True},
             "transport": {"type": "ws", "path": "/w", "headers": {"Host": ["c.example"]}, "max_early_data": 2048}},
            f"vless://{ID}@h.example:443?encryption=none&type=ws&security=tls&allowInsecure=1&host=c.example&path=%2Fw"
            "&packetEncoding=xudp#x",
        ),
        (
            {"type": "vmess", "uuid": ID, "security": "auto", "alter_id": 0, "multiplex": {"enabled": False},
             "transport": {"type": "httpupgrade", "host": "c.example", "path": "/u"}},
            f"vmess://{ID}@h.example:443?encryption=aes-128-gcm&type=httpupgrade&host=c.example&path=%2Fu#x",
        ),
        ({"type": "socks", "version": "4a", "username": "u"}, "socks4a://u@h.example:443#x"),
        (
            {"type": "shadowsocks", "method": "aes-256-gcm", "password": "p", "udp_over_tcp": True},
            "ss://YWVzLTI1Ni1nY206cA@h.example:443/?udp-over-tcp=yes&udp-over-tcp-version=2#x",
        ),
        (
            {"type": "shadowsocks", "method": "aes-256-gcm", "password": "p",
             "udp_over_tcp": {"enabled": True, "version": 1}},
            "ss://YWVzLTI1Ni1nY206cA@h.example:443/?udp-over-tcp=yes&udp-over-tcp-version=1#x",
        ),
        (
            {"type": "shadowsocks", "method": "aes-256-gcm", "password": "p", "network": "tcp",
             "udp_over_tcp": {"enabled": False}},
            "ss://YWVzLTI1Ni1nY206cA@h.example:443/?udp=no#x",
        ),
        (
            {"type": "vless", "uuid": ID, "network": "tcp", "tls": {"enabled": True}},
            f"vless://{ID}@h.example:443?encryption=none&security=tls&udp=no#x",
        ),
    ],
)  # fmt: skip
def test_outbounds_of_sing_box_are_links(outbound: dict, link: str) -> None:
    made = imported(json.dumps({"outbounds": [{**AT, "tag": "x", **outbound}]}))
    assert [each.text for each in made.profile.server] == [link]


@pytest.mark.parametrize("more", [{"network": "udp"}, {"udp_over_tcp": "perhaps"}])
def test_an_outbound_that_is_not_understood_is_not_another_one(more: dict) -> None:
    outbound = {**AT, "type": "shadowsocks", "method": "aes-256-gcm", "password": "p", "tag": "x", **more}
    with pytest.raises(LocalError, match=next(iter(more))):
        of_sing_box(outbound)


def test_an_outbound_over_quic_is_the_same_server() -> None:
    outbound = {
        **AT,
        "type": "hysteria2",
        "tag": "x",
        "password": "p",
        "server_ports": ["443:450", "500"],
        "hop_interval": "10s",
        "up_mbps": 5,
        "obfs": {"type": "salamander", "password": "salt"},
        "tls": {"enabled": True, "server_name": "s.example", "insecure": True, "alpn": ["h3"]},
    }
    query = "obfs=salamander&obfs-password=salt&sni=s.example&insecure=1&mport=443-450%2C500&hop-interval=10&up=5"
    where = f"{AT['server']}:{AT['server_port']}"
    assert link_of_entry(of_sing_box(outbound)) == f"hysteria2://p@{where}?{query}#x"


@pytest.mark.parametrize(
    ("outbound", "why"),
    [
        ({"type": "trojan", "password": "p"}, "trojan without TLS"),
        ({"type": "trojan", "password": "p", "tls": {**TLS, "ech": {"enabled": True}}}, "tls.ech is not supported"),
        ({"type": "trojan", "password": "p", "tls": {**TLS, "certificate_path": "c.pem"}}, "tls.certificate_path"),
        ({"type": "vless", "uuid": ID, "flow": "xtls-rprx-direct", "tls": TLS}, "flow=xtls-rprx-direct is not"),
        (
            {"type": "vless", "uuid": ID, "tls": {**TLS, "reality": {"enabled": True}}},
            "REALITY needs the",
        ),
        ({"type": "vmess", "uuid": ID, "alter_id": 64}, "alterId"),
        ({"type": "vmess", "uuid": ID, "transport": {"type": "quic"}}, "type .network. quic is not supported"),
        ({"type": "vmess", "uuid": ID, "transport": {"type": "http", "method": "GET"}}, "method GET is not supported"),
        ({"type": "vmess", "uuid": ID, "transport": {"type": "grpc", "x": "y"}}, "transport.x is not supported"),
        ({"type": "vmess", "uuid": ID, "authenticated_length": True}, "authenticated_length is not supported"),
        ({"type": "hysteria2", "password": "p"}, "hysteria2 without TLS is not supported"),
        ({"type": "snell", "psk": "p"}, "type snell is not supported"),
    ],
)
def test_an_outbound_that_would_be_another_server_is_named(outbound: dict, why: str) -> None:
    with pytest.raises(LocalError, match=why):
        imported(json.dumps({"outbounds": [{**AT, "tag": "x", **outbound}]}))


def xray(protocol: str, settings: dict, **stream: object) -> str:
    freedom = {"protocol": "freedom", "tag": "direct"}
    outbound = {"protocol": protocol, "tag": "x", "settings": settings, "streamSettings": stream}
    return json.dumps({"inbounds": [], "outbounds": [outbound, freedom]})


@pytest.mark.parametrize(
    ("text", "link"),
    [
        (
            xray(
                "vless",
                {"vnext": [{"address": "h.example", "port": 443, "users": [{"id": ID, "encryption": "none"}]}]},
                network="ws", security="tls", tlsSettings={"serverName": "s.example", "fingerprint": "chrome"},
                wsSettings={"path": "/w", "headers": {"Host": "c.example"}},
            ),
            f"vless://{ID}@h.example:443?encryption=none&type=ws&security=tls&sni=s.example&fp=chrome&host=c.example&path=%2Fw#x",
        ),
        (
            xray("trojan", {"servers": [{"address": "h.example", "port": 443, "password": "p"}]}, security="tls"),
            "trojan://p@h.example:443#x",
        ),
        (
            xray(
                "vless", {"address": "h.example", "port": 443, "id": ID, "flow": "xtls-rprx-vision"},
                security="reality",
                realitySettings={"serverName": "s.example", "password": "a" * 43, "shortId": "01", "spiderX": "/",
                    "fingerprint": "chrome", "mldsa65Verify": ""},
            ),
            f"vless://{ID}@h.example:443?encryption=none&security=reality&sni=s.example&fp=chrome"
            f"&pbk={'a' * 43}&sid=01&flow=xtls-rprx-vision#x",
        ),
        (
            xray("vmess", {"address": "h.example", "port": 80, "id": ID, "security": "auto"}, network="raw"),
            f"vmess://{ID}@h.example:80?encryption=aes-128-gcm#x",
        ),
        (
            xray("socks", {"servers": [{"address": "h.example", "port": 1, "users": [{"user": "u", "pass": "p"}]}]}),
            "socks5://u:p@h.example:1#x",
        ),
        (
            xray("shadowsocks", {"servers": [{"address": "h", "port": 1, "method": "aes-256-gcm", "password": "p"}]}),
            "ss://YWVzLTI1Ni1nY206cA@h:1#x",
        ),
    ],
)  # fmt: skip
def test_outbounds_of_xray_are_links(text: str, link: str) -> None:
    assert [each.text for each in imported(text).profile.server] == [link]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (xray("vless", {"address": "h", "port": 1, "id": ID}, security="reality"), "needs the server's public key"),
        (xray("vless", {"address": "h", "port": 1, "id": ID, "flow": "xtls-rprx-vision"}), "is for type=tcp with"),
        (
            xray(
                "vless",
                {"address": "h", "port": 1, "id": ID},
                security="reality",
                realitySettings={"publicKey": "a" * 43, "mldsa65Verify": "x"},
            ),
            "mldsa65Verify. of REALITY is an ML-DSA-65 key",
        ),
        (xray("vless", {"address": "h", "port": 1, "id": ID}, network="kcp"), "kcp is not supported"),
        (xray("vless", {"address": "h", "port": 1, "id": ID}, tcpSettings={"header": {"type": "http"}}), "header http"),
        (xray("trojan", {"address": "h", "port": 1, "password": "p"}), "trojan without TLS"),
        (
            xray("trojan", {"address": "h", "port": 1, "password": "p"}, security="tls", tlsSettings={"x": 1}),
            "tlsSettings.x",
        ),
        (xray("wireguard", {"address": "h"}), "a server here has one peer"),
        (xray("vless", {"vnext": [{}, {}]}), "several servers"),
    ],
)
def test_an_outbound_of_xray_that_would_be_another_server_is_named(text: str, why: str) -> None:
    with pytest.raises(LocalError, match=why):
        imported(text)


def test_a_sing_box_configuration_is_its_groups_and_routes_too() -> None:
    outbounds = [
        {"type": "selector", "tag": "pick", "outbounds": ["a", "auto", "out"], "default": "auto"},
        {"type": "urltest", "tag": "auto", "outbounds": ["a", "gone"], "interval": "3m", "tolerance": 100},
        {**OURS, "type": "shadowsocks", "tag": "a"},
        {**OURS, "type": "shadowsocks", "tag": "b", "detour": "a"},
        {**AT, "type": "shadowtls", "tag": "gone"},
        {"type": "direct", "tag": "out"},
        {"type": "dns", "tag": "dns-out"},
    ]
    rules = [
        {"protocol": "dns", "action": "hijack-dns"},
        {"domain": ["x.example"], "domain_suffix": [".y.example", "z.example"], "network": "tcp", "outbound": "b"},
        {"ip_is_private": True, "outbound": "out"},
        {"port": [80, 443], "source_ip_cidr": "10.0.0.0/8", "invert": True, "action": "reject", "method": "drop"},
        {
            "type": "logical",
            "mode": "or",
            "rules": [{"process_name": "ssh"}, {"port_range": "1:99"}],
            "outbound": "out",
        },
        {"rule_set": "geosite-cn", "outbound": "out"},
        {"domain": "q.example", "outbound": "gone"},
    ]
    text = json.dumps({"dns": {"servers": []}, "outbounds": outbounds, "route": {"rules": rules, "final": "pick"}})
    assert not imported(text.replace("shadowsocks", "snell")).is_usable
    made = imported(text)
    profile = made.profile
    assert made.is_whole
    assert profile.groups["pick"].servers == ("auto", "a", "DIRECT")
    assert (profile.groups["auto"].servers, profile.groups["auto"].interval) == (("a",), 180.0)
    assert len(profile.servers["b"].chain) == 2
    assert profile.rules == (
        "AND,((RULE-SET,route.rules[1]),(NETWORK,tcp)),b",
        "GEOIP,LAN,DIRECT",
        "NOT,((AND,((OR,((DST-PORT,80),(DST-PORT,443))),(SRC-IP-CIDR,10.0.0.0/8)))),REJECT-DROP",
        "OR,((PROCESS-NAME,ssh),(DST-PORT,1-99)),DIRECT",
        "DOMAIN,q.example,REJECT",
        "MATCH,pick",
    )
    assert profile.rule_sets["route.rules[1]"].lines == (
        "DOMAIN,x.example", "DOMAIN-WILDCARD,*.y.example", "DOMAIN-SUFFIX,z.example",
    )  # fmt: skip
    said = [f"{each.place} {each.reason}" for each in made.lost]
    assert "route.rules[5] there is no rule set 'geosite-cn'" in said
    assert any("outbounds[4] proxy 'gone': type shadowtls is not supported" in each for each in said)


OUTLINE = """\
transport:
  $type: tcpudp
  tcp: &shared
    $type: shadowsocks
    endpoint: ENDPOINT
    cipher: chacha20-ietf-poly1305
    secret: s/e
  udp: *shared
"""


def test_an_outline_key_in_yaml() -> None:
    link = "ss://chacha20-ietf-poly1305:s%2Fe@ss.example:80"
    assert [each.text for each in imported(OUTLINE.replace("ENDPOINT", "ss.example:80")).profile.server] == [link]
    assert (
        imported(
            "transport: {$type: shadowsocks, endpoint: 'ss.example:80', cipher: chacha20-ietf-poly1305, secret: s/e}\n"
        )
        .profile.server[0]
        .text
        == link
    )
    entry = "{$type: shadowsocks, endpoint: 'in.example:1', cipher: aes-256-gcm, secret: p}"
    behind = f"{{$type: dial, address: 'ss.example:80', dialer: {entry}}}"
    assert [each.text for each in imported(OUTLINE.replace("ENDPOINT", behind)).profile.server] == [
        "ss://aes-256-gcm:p@in.example:1",
        link,
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            OUTLINE.replace("ENDPOINT", "{$type: websocket, url: 'wss://x'}"),
            "the file:1: endpoint websocket is not supported",
        ),
        (OUTLINE.replace("ENDPOINT", "a:1\n    prefix: POST"), "prefix is not supported"),
        (
            OUTLINE.replace("*shared", "{$type: shadowsocks, endpoint: 'b:1', cipher: aes-256-gcm, secret: p}"),
            "different servers",
        ),
        ("error:\n  message: Quota is used up\n", "the provider says: Quota is used up"),
        ("transport: {$type: first-supported, options: []}\n", "first-supported is not supported"),
    ],
)
def test_an_outline_key_that_would_be_another_server_is_named(text: str, why: str) -> None:
    with pytest.raises(LocalError, match=why):
        imported(text)


def test_ssconf_is_fetched_over_https() -> None:
    asked = []

    def fetch(url: str, _agent: str | None) -> ServerReply:
        asked.append(url)
        return ServerReply(b"ss://YWVzLTI1Ni1nY206cA@192.0.2.1:443", None)

    source = read_source("ssconf://o.example/key.json#My%20key", None, fetch)
    assert asked == ["https://o.example/key.json"]
    made = import_profile(source).profile
    assert source.name == "My-key"
    assert [each.text for each in made.server] == ["ss://YWVzLTI1Ni1nY206cA@192.0.2.1:443"]


def test_a_mixed_subscription_is_taken_as_far_as_it_goes_and_the_rest_is_named() -> None:
    older = {
        "v": "2",
        "ps": "vm",
        "add": "h.example",
        "port": "443",
        "id": ID,
        "aid": "0",
        "net": "ws",
        "path": "/",
        "tls": "tls",
    }
    lines = [
        "ss://YWVzLTI1Ni1nY206cA@192.0.2.1:443#ss",
        f"vmess://{b64encode(json.dumps(older).encode()).decode()}",
        "trojan://p@h.example:443?sni=s.example#tr",
        f"vless://{ID}@h.example:443?encryption=none&security=tls#vl",
        f"vless://{ID}@h.example:443?encryption=none&security=reality&pbk=x#re",
        "hysteria2://p@h.example:443?sni=x#hy",
        "ssr://abc",
    ]
    made = imported(b64encode("\n".join(lines).encode()))
    assert list(made.profile.servers) == ["ss", "vm", "tr", "vl", "hy"]
    assert [(each.place, each.reason.partition(";")[0]) for each in made.told] == [
        (
            "line 5 (re)",
            "the vless:// link: pbk (public-key) is a REALITY server's public key, 43 characters of base64",
        ),
        ("line 7", "unknown server scheme ssr://"),
    ]


def test_a_whole_configuration_may_come_in_base64() -> None:
    clash = b"proxies:\n- {name: a, type: ss, server: 192.0.2.1, port: 1, cipher: aes-256-gcm, password: p}\n"
    made = imported(b64encode(clash))
    assert made.is_whole
    assert list(made.profile.servers) == ["a"]


def test_lines_that_are_no_links_are_told_and_skipped() -> None:
    made = imported(b64encode(b"STATUS=1 GB left\nss://YWVzLTI1Ni1nY206cA@192.0.2.1:443#a\n"))
    assert [(each.place, each.reason) for each in made.told] == [("line 1", "is no link")]


def test_v2rayns_socks_links_have_their_user_in_base64() -> None:
    made = [
        parse_server(link)
        for link in links(imported("socks://dXNlcjpwdw==@192.0.2.1:1080#one\nsocks://Og==@192.0.2.2:1080#two\n"))
    ]
    assert [(server.user, server.password) for server in made] == [("user", "pw"), (None, None)]


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("type=ws&security=tls&path=%2Fws", "Shadowsocks through ws over TLS is not supported"),
        ("type=grpc", "Shadowsocks through grpc is not supported"),
        ("security=tls", "Shadowsocks through TLS is not supported"),
        ("shadow-tls=eyJ2ZXJzaW9uIjoiMyJ9", "Shadowsocks through ShadowTLS is not supported"),
    ],
)
def test_a_server_behind_a_transport_is_never_taken_as_a_plain_one(query: str, why: str) -> None:
    with pytest.raises(LocalError, match=why):
        imported(f"ss://YWVzLTI1Ni1nY206cA@192.0.2.1:443?{query}#x\n")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"<!DOCTYPE html><html><head><title>Just a moment</title></head></html>", "a web page, not a list of servers"),
        (b"\n <html>", "a web page"),
        (b"<?xml version='1.0'?>", "an XML file"),
        (b"[server_local]\nss=x\n", "a Quantumult X configuration"),
        (b"[General]\n[Remote Proxy]\n", "a Loon configuration"),
        (b"\x1f\x8b\x08", "a packed file"),
        (b"# a list\nDOMAIN-SUFFIX,example.com\nDOMAIN,x.example\n", "a list of rules"),
        (b"payload:\n- '+.example'\n", "a list of rules"),
        (b64encode(b"<html>no</html>"), "a web page"),
        (b"\x89PNG\r\n", "a picture"),
    ],
)
def test_a_file_that_is_something_else_is_named_for_what_it_is(content: bytes, what: str) -> None:
    with pytest.raises(LocalError, match=f"the file is {what}"):
        imported(content)


@pytest.mark.parametrize("begun", ['"\\', '\\"', "/* ", "//", ", ", "[", "'\\", "a", "a ", "/'"])
def test_what_begins_and_never_ends_takes_no_longer_than_its_length(begun: str) -> None:
    """A list of servers comes from the web, and may be read by a tunnel that carries others' flows."""

    def read(times: int) -> None:
        with pytest.raises(BadPacket):
            loads_untrusted('{"a":' + begun * times)

    assert times_slower(lambda: read(8000), lambda: read(1000), rounds=3) < 24


@pytest.mark.parametrize("blank", [" ", "\n", "\t "])
def test_a_file_of_nothing_takes_no_longer_than_its_length(blank: str) -> None:
    def read(times: int) -> None:
        with pytest.raises(LocalError):
            imported(blank * times + "x")

    assert times_slower(lambda: read(16000), lambda: read(2000), rounds=3) < 24


def test_json5_as_people_write_it() -> None:
    text = """{ // a note
      server: '192.0.2.1', server_port: 8388, /* and, another: one */
      'method': "aes-256-gcm", password: 'it\\'s "http://p"',
    }"""
    (link,) = links(imported(text))
    assert parse_server(link).password == 'it\'s "http://p"'


@pytest.mark.parametrize("content", ["{}", '{"error": "token expired", "code": 403}', '{"version": 1, "rules": []}'])
def test_json_without_servers_is_told_by_what_it_has(content: str) -> None:
    with pytest.raises(LocalError, match=r"the file is JSON, and no list of servers: it has (nothing|error, code|ver)"):
        imported(content)


PROXY = {"name": "a", "type": "ss", "server": "192.0.2.1", "port": 8388, "cipher": "aes-128-gcm", "password": "p"}
CLASH = {
    "proxies": [PROXY],
    "proxy-groups": [{"name": "G", "type": "select", "proxies": ["a", "DIRECT"]}],
    "rules": ["DOMAIN,x.example,DIRECT", "MATCH,G"],
}


def test_clash_as_json_and_with_quoted_keys() -> None:
    plain = json.dumps(CLASH)
    quoted = '"proxies":\n- ' + json.dumps(PROXY) + "\n'rules': ['MATCH,a']\n"
    for content in (plain, json.dumps(CLASH, indent="\t"), "\ufeff" + plain):
        made = imported(content).profile
        assert made.rules == ("DOMAIN,x.example,DIRECT", "MATCH,G")
        assert made.groups["G"].servers == ("a", "DIRECT")
    assert imported(quoted).profile.rules == ("MATCH,a",)


def test_rules_behind_match_are_left_out_and_told() -> None:
    made = imported(json.dumps({**CLASH, "rules": ["MATCH,G", "DOMAIN,x.example,DIRECT", "DOMAIN,y.example,a"]}))
    assert made.profile.rules == ("MATCH,G",)
    assert [(each.reason, each.is_lost) for each in made.told] == [
        ("DOMAIN,x.example,DIRECT and 1 more: behind MATCH no rule is asked", False)
    ]


def test_a_server_whose_name_cannot_be_one_is_lost() -> None:
    broken = [{**PROXY, "name": "a,b"}]
    made = imported(json.dumps({"proxies": broken, "rules": ["MATCH,DIRECT"]}))
    assert not made.is_usable
