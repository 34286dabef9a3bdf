"""Servers of every kind in each shape that providers and programs hand out: each is usable, or named."""

from __future__ import annotations

import json
import pickle
import socket
from base64 import b64encode
from urllib.parse import quote, urlencode

import pytest

from tunflow.endpoint import Address
from tunflow.errors import LocalError
from tunflow.outbound.chain import make_outbound
from tunflow.outbound.sessions import KeptSessions
from tunflow.profiles.imports.importer import Imported, ImportSource, import_profile
from tunflow.profiles.imports.missing_programs import missing_programs
from tunflow.protocols.registry import parse_server
from tunflow.protocols.server_addresses import ServerAddresses

ID = "01234567-89ab-cdef-0123-456789abcdef"
KEY = b64encode(bytes(32)).decode()
HOST, PORT = "h.example", 443
WHERE = {"server": HOST, "port": PORT}
OBFS = "obfs-local;obfs=http;obfs-host=a.example"

PBK = "jNXHt1yRo0vDuchQlIP6Z0ZvjT3KtzVI-T4E7RoLJS0"
"""A REALITY server's key."""


def older_vmess(name: str, **more: str) -> str:
    values = {"v": "2", "ps": name, "add": HOST, "port": str(PORT), "id": ID, "aid": "0", "net": "tcp", **more}
    return "vmess://" + b64encode(json.dumps(values).encode()).decode()


LINKS = {
    "ss": f"ss://{b64encode(b'aes-256-gcm:p').decode()}@{HOST}:{PORT}#ss",
    "ss2022": f"ss://2022-blake3-aes-256-gcm:{quote(KEY, safe='')}@{HOST}:{PORT}#ss2022",
    "obfs": f"ss://{b64encode(b'aes-256-gcm:p').decode()}@{HOST}:{PORT}/?plugin={quote(OBFS, safe='')}#obfs",
    "vmess": older_vmess("vmess"),
    "vmess-ws": older_vmess("vmess-ws", net="ws", path="/a", host="a.example", tls="tls"),
    "vmess-grpc": older_vmess("vmess-grpc", net="grpc", path="way", tls="tls"),
    "trojan": f"trojan://p@{HOST}:{PORT}?sni=a.example#trojan",
    "trojan-ws": f"trojan://p@{HOST}:{PORT}?type=ws&path=%2Fa&sni=a.example#trojan-ws",
    "vless": f"vless://{ID}@{HOST}:{PORT}?encryption=none&security=tls&sni=a.example&fp=chrome#vless",
    "vless-xhttp": f"vless://{ID}@{HOST}:{PORT}?encryption=none&security=tls&type=xhttp&path=%2Fa#vless-xhttp",
    "reality": f"vless://{ID}@{HOST}:{PORT}?encryption=none&security=reality&pbk={PBK}&sid=01&flow=xtls-rprx-vision#reality",
    "vision": f"vless://{ID}@{HOST}:{PORT}?encryption=none&security=tls&flow=xtls-rprx-vision#vision",
    "anytls": f"anytls://p@{HOST}:{PORT}/?sni=a.example&insecure=1#anytls",
    "hysteria2": f"hysteria2://p@{HOST}:{PORT}?sni=a.example&obfs=salamander&obfs-password=salt#hysteria2",
    "hy2-ports": f"hy2://p@{HOST}:{PORT},5000-6000/?insecure=1#hy2-ports",
    "tuic": f"tuic://{ID}:p@{HOST}:{PORT}?congestion_control=bbr&alpn=h3&udp_relay_mode=native#tuic",
    "ssh": f"ssh://me:p@{HOST}:22?host-key=SHA256%3A{'A' * 43}#ssh",
    "ssr": "ssr://aDoxOmF1dGhfY2hhaW5fYTpub25lOnBsYWluOmNB#ssr",
    "poweroff": f"ss://{b64encode(b'aes-256-gcm:p').decode()}@{HOST}:{PORT}/?plugin=%2Fsbin%2Fpoweroff#poweroff",
}
CLASH = {
    "ss": WHERE | {"type": "ss", "cipher": "aes-256-gcm", "password": "p", "udp": True},
    "obfs": WHERE
    | {"type": "ss", "cipher": "aes-256-gcm", "password": "p"}
    | {"plugin": "obfs", "plugin-opts": {"mode": "tls", "host": "a"}},
    "vmess": WHERE | {"type": "vmess", "uuid": ID, "alterId": 0, "cipher": "auto", "udp": True, "tls": True},
    "vmess-ws": WHERE
    | {"type": "vmess", "uuid": ID, "alterId": 0, "cipher": "auto", "network": "ws"}
    | {"ws-opts": {"path": "/a", "headers": {"Host": "a.example"}}},
    "trojan": WHERE | {"type": "trojan", "password": "p", "sni": "a.example", "skip-cert-verify": True},
    "trojan-grpc": WHERE
    | {"type": "trojan", "password": "p", "network": "grpc", "grpc-opts": {"grpc-service-name": "way"}},
    "vless": WHERE
    | {"type": "vless", "uuid": ID, "tls": True, "servername": "a.example", "client-fingerprint": "chrome"},
    "reality": WHERE
    | {"type": "vless", "uuid": ID, "tls": True, "reality-opts": {"public-key": PBK, "short-id": "01"}},
    "vision": WHERE | {"type": "vless", "uuid": ID, "tls": True, "flow": "xtls-rprx-vision"},
    "hysteria2": WHERE
    | {"type": "hysteria2", "password": "p", "up": "30 Mbps", "down": "200 Mbps", "sni": "a.example"},
    "tuic": WHERE | {"type": "tuic", "uuid": ID, "password": "p", "alpn": ["h3"], "congestion-controller": "bbr"},
    "anytls": WHERE | {"type": "anytls", "password": "p", "sni": "a.example", "idle-session-timeout": 30},
    "ssh": {"type": "ssh", "server": HOST, "port": 22, "username": "me", "password": "p"},
    "snell": WHERE | {"type": "snell", "psk": "p", "version": 4},
}
SING_WHERE = {"server": HOST, "server_port": PORT}
TLS = {"tls": {"enabled": True, "server_name": "a.example"}}
SING_BOX = {
    "ss": SING_WHERE | {"type": "shadowsocks", "method": "aes-256-gcm", "password": "p"},
    "obfs": SING_WHERE
    | {"type": "shadowsocks", "method": "aes-256-gcm", "password": "p"}
    | {"plugin": "obfs-local", "plugin_opts": "obfs=http"},
    "vmess": SING_WHERE | {"type": "vmess", "uuid": ID, "security": "auto", "alter_id": 0} | TLS,
    "trojan": SING_WHERE | {"type": "trojan", "password": "p", "transport": {"type": "ws", "path": "/a"}} | TLS,
    "vless": SING_WHERE | {"type": "vless", "uuid": ID, "packet_encoding": "xudp"} | TLS,
    "reality": SING_WHERE
    | {"type": "vless", "uuid": ID}
    | {"tls": {"enabled": True, "reality": {"enabled": True, "public_key": PBK}}},
    "hysteria2": SING_WHERE | {"type": "hysteria2", "password": "p", "up_mbps": 30, "down_mbps": 200} | TLS,
    "tuic": SING_WHERE | {"type": "tuic", "uuid": ID, "password": "p"} | TLS,
    "anytls": SING_WHERE | {"type": "anytls", "password": "p", "idle_session_timeout": "30s"} | TLS,
    "ssh": {"type": "ssh", "server": HOST, "server_port": 22, "user": "me", "password": "p"},
    "shadowtls": SING_WHERE | {"type": "shadowtls", "version": 3, "password": "p"} | TLS,
}


def xray(protocol: str, settings: dict[str, object], **stream: object) -> dict[str, object]:
    return {"protocol": protocol, "settings": settings, "streamSettings": stream}


VNEXT = {"address": HOST, "port": PORT}
XRAY = {
    "ss": xray("shadowsocks", {"servers": [VNEXT | {"method": "aes-256-gcm", "password": "p"}]}),
    "vmess": xray("vmess", {"vnext": [VNEXT | {"users": [{"id": ID, "security": "auto"}]}]}, network="tcp"),
    "trojan": xray("trojan", {"servers": [VNEXT | {"password": "p"}]}, network="grpc", security="tls"),
    "vless": xray("vless", {"vnext": [VNEXT | {"users": [{"id": ID, "encryption": "none"}]}]}, security="tls"),
    "reality": xray(
        "vless",
        {"vnext": [VNEXT | {"users": [{"id": ID, "encryption": "none", "flow": "xtls-rprx-vision"}]}]},
        security="reality",
        realitySettings={"serverName": "a.example", "publicKey": PBK, "shortId": "01", "fingerprint": "chrome"},
    ),
    "vision": xray(
        "vless",
        {"vnext": [VNEXT | {"users": [{"id": ID, "encryption": "none", "flow": "xtls-rprx-vision"}]}]},
        security="tls",
    ),
}
SIP008 = {
    name: {"remarks": name, "server": HOST, "server_port": PORT, "method": "aes-256-gcm", "password": "p", **more}
    for name, more in {
        "ss": {},
        "obfs": {"plugin": "obfs-local", "plugin_opts": "obfs=tls"},
        "v2ray": {"plugin": "v2ray-plugin", "plugin_opts": "mux=0;tls;host=a.example"},
        "shell": {"plugin": "/bin/sh", "plugin_opts": ""},
    }.items()
}
SHAPES = {
    "a list of links": (LINKS, "\n".join(LINKS.values())),
    "a list of links in base64": (LINKS, b64encode("\n".join(LINKS.values()).encode()).decode()),
    "Clash": (CLASH, "proxies: " + json.dumps([each | {"name": name} for name, each in CLASH.items()])),
    "sing-box": (SING_BOX, json.dumps({"outbounds": [each | {"tag": name} for name, each in SING_BOX.items()]})),
    "Xray": (XRAY, json.dumps({"outbounds": [each | {"tag": name} for name, each in XRAY.items()]})),
    "SIP008": (SIP008, json.dumps({"version": 1, "servers": list(SIP008.values())})),
}
NOT_HERE = {
    "ssr": "ssr://",
    "snell": "snell",
    "shadowtls": "shadowtls",
    "poweroff": "a program of this machine",
    "shell": "a program of this machine",
}
"""What cannot be used, and what of its reason is told."""


def imported(text: str) -> Imported:
    return import_profile(ImportSource(text.encode(), "the file", "name"))


def find(_host: str, port: int) -> ServerAddresses:
    return ServerAddresses((Address(socket.AF_INET, ("192.0.2.1", port)),))


@pytest.mark.parametrize("shape", SHAPES)
def test_every_server_is_usable_or_named_with_its_reason(shape: str) -> None:
    expected, text = SHAPES[shape]
    made = imported(text)
    sections = made.profile.servers
    assert list(sections) == [name for name in expected if name not in NOT_HERE]
    for section in sections.values():
        servers = [parse_server(link.text) for link in section.links]
        outbound = make_outbound(servers, find, sessions=KeptSessions())
        assert outbound.label
    lost = [name for name in expected if name in NOT_HERE]
    told = [f"{each.place}: {each.reason}" for each in made.told if each.is_lost]
    for name in lost:
        assert any(NOT_HERE[name].lower() in line.lower() for line in told), (name, told)
    assert len(told) >= len(lost)


def test_a_program_that_is_not_here_is_told_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    links = [
        f"{LINKS['ss'].partition('#')[0]}/?plugin={quote(plugin, safe='')}#{name}"
        for name, plugin in (
            ("twin", "v2ray-plugin;mux=0"),
            ("mux", "v2ray-plugin;tls"),
            ("obfs", "obfs-local;obfs=http"),
        )
    ]
    (told,) = missing_programs(imported("\n".join(links)).profile)
    assert told.place == "mux"
    assert "'v2ray-plugin' is a program that is not here" in told.reason
    assert "apt install shadowsocks-v2ray-plugin" in told.reason
    assert [each.place for each in missing_programs(imported(links[1]).profile)] == ["server"]


@pytest.mark.parametrize("kind", [kind for kind in LINKS if kind not in NOT_HERE])
def test_a_link_alone_comes_through_its_own_link_again(kind: str) -> None:
    server = parse_server(LINKS[kind])
    assert parse_server(server.to_link()) == server


@pytest.mark.parametrize("kind", [kind for kind in LINKS if kind not in NOT_HERE])
def test_a_server_can_be_handed_to_another_process(kind: str) -> None:
    server = parse_server(LINKS[kind])
    assert pickle.loads(pickle.dumps(server)) == server


@pytest.mark.parametrize(
    ("link", "parameter", "value", "says"),
    [
        (LINKS["vless"], "security", "quantum", "security=quantum"),
        (LINKS["vless"], "flow", "xtls-rprx-direct", "flow=xtls-rprx-direct"),
        (LINKS["vless"], "type", "kcp", "kcp"),
        (LINKS["vless"], "encryption", "mlkem768", "encryption"),
        (LINKS["vless"], "colour", "red", "'colour'"),
        (LINKS["trojan"], "security", "xtls", "security=xtls"),
        (LINKS["trojan"], "headerType", "http", "headerType=http"),
        (LINKS["hysteria2"], "obfs", "none-such", "obfs"),
        (LINKS["hysteria2"], "colour", "red", "'colour'"),
        (LINKS["tuic"], "udp_relay_mode", "fast", "udp_relay_mode"),
        (LINKS["tuic"], "congestion_control", "magic", "congestion_control"),
        (LINKS["ssh"], "colour", "red", "'colour'"),
    ],
)
def test_what_is_not_known_is_refused_in_one_line_with_what_is(
    link: str, parameter: str, value: str, says: str
) -> None:
    changed = link.partition("#")[0] + ("&" if "?" in link else "?") + urlencode({parameter: value})
    changed = changed.replace("security=tls&", "").replace("encryption=none&", "", parameter == "encryption")
    with pytest.raises(LocalError) as caught:
        parse_server(changed)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
