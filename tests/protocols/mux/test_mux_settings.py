"""Who asks for shared connections, in links and in files of other programs, and what is said of what cannot be."""

from __future__ import annotations

import pytest

from tunflow.errors import LocalError
from tunflow.profiles.imports.outbounds import link_of_entry, of_sing_box, of_xray
from tunflow.protocols.mux.settings import Mux
from tunflow.protocols.registry import clash_server, parse_server

ID = "01234567-89ab-cdef-0123-456789abcdef"
LINKS = [
    "trojan://p@192.0.2.1:443?",
    f"vless://{ID}@192.0.2.1:443?encryption=none&",
    f"vmess://{ID}@192.0.2.1:443?encryption=aes-128-gcm&",
    "ss://YWVzLTEyOC1nY206cA@192.0.2.1:443/?",
]
COMMON = {"name": "a", "server": "192.0.2.1", "port": "443"}
ENTRIES = [
    {**COMMON, "type": "trojan", "password": "p"},
    {**COMMON, "type": "vless", "uuid": ID},
    {**COMMON, "type": "vmess", "uuid": ID, "cipher": "auto", "alterId": "0"},
    {**COMMON, "type": "ss", "cipher": "aes-128-gcm", "password": "p"},
]


@pytest.mark.parametrize("start", LINKS)
@pytest.mark.parametrize(
    ("words", "mux"),
    [
        ("mux=smux", Mux("smux")),
        ("mux=h2mux&mux-streams=16&mux-padding=yes&mux-udp=no", Mux("h2mux", 16, padding=True, udp=False)),
        ("mux=yamux&mux-connections=4&mux-min-streams=2", Mux("yamux", 0, 4, 2)),
        ("mux=mux.cool&mux-streams=32", Mux("mux.cool", 32, udp=False)),
    ],
)
def test_links(start: str, words: str, mux: Mux) -> None:
    server = parse_server(start + words)
    assert server.mux == mux
    assert parse_server(server.to_link()) == server


@pytest.mark.parametrize("start", LINKS)
@pytest.mark.parametrize("off", ["", "mux=0", "mux=no", "mux=false"])
def test_links_without(start: str, off: str) -> None:
    assert parse_server(start + off).mux is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("mux=1", "mux 1 is not supported; h2mux, smux, yamux, mux.cool are"),
        ("mux-streams=3", "mux-streams of the trojan:// link goes with mux="),
        ("mux=smux&mux-streams=-1", "mux-streams is a number from 0 to 65535"),
        ("mux=smux&mux-connections=65", "mux-connections is a number from 0 to 64"),
        ("mux=mux.cool&mux-padding=1", "mux.cool has no padding"),
    ],
)
def test_what_cannot_be_is_said(words: str, said: str) -> None:
    with pytest.raises(LocalError, match=said.replace(".", r"\.")):
        parse_server(LINKS[0] + words)


def test_vision_and_a_mux_do_not_go_together() -> None:
    with pytest.raises(LocalError, match="do not go together"):
        parse_server(LINKS[1] + "security=tls&flow=xtls-rprx-vision&mux=h2mux")


def test_serve_takes_none() -> None:
    with pytest.raises(LocalError, match="is for clients"):
        parse_server("trojan://p@:443?mux=smux", listening=True)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["type"])
def test_clash(entry) -> None:
    asked = {
        "enabled": "true", "protocol": "yamux", "max-connections": "4", "min-streams": "4", "max-streams": "0",
        "padding": "true", "statistic": "true", "only-tcp": "true", "brutal-opts": {"enabled": "true"},
    }  # fmt: skip
    server, unread = clash_server({**entry, "smux": asked})
    assert server.mux == Mux("yamux", 0, 4, 4, padding=True, udp=False)
    assert unread == []
    server, _ = clash_server({**entry, "smux": {"enabled": "true"}})
    assert server.mux == Mux("h2mux")
    server, _ = clash_server({**entry, "smux": {"enabled": "false", "protocol": "other"}})
    assert server.mux is None
    with pytest.raises(LocalError, match="smux: mux other is not supported"):
        clash_server({**entry, "smux": {"enabled": "true", "protocol": "other"}})


def test_sing_box() -> None:
    table = {"enabled": True, "protocol": "smux", "max_streams": 16, "padding": True}
    outbound = {"type": "vless", "tag": "a", "server": "192.0.2.1", "server_port": 443, "uuid": ID, "multiplex": table}
    server = parse_server(link_of_entry(of_sing_box(outbound)))
    assert server.mux == Mux("smux", 16, padding=True)
    server = parse_server(link_of_entry(of_sing_box({**outbound, "multiplex": {"enabled": False}})))
    assert server.mux is None


@pytest.mark.parametrize(
    ("table", "mux"),
    [
        ({"enabled": True, "concurrency": 16, "xudpProxyUDP443": "reject"}, Mux("mux.cool", 16, udp=False)),
        ({"enabled": True}, Mux("mux.cool", udp=False)),
        ({"enabled": True, "concurrency": -1, "xudpConcurrency": 8}, None),
        ({"enabled": False, "concurrency": 8}, None),
    ],
)
def test_xray(table, mux: Mux | None) -> None:
    where = {"address": "192.0.2.1", "port": 443, "users": [{"id": ID, "encryption": "none"}]}
    outbound = {"protocol": "vless", "tag": "a", "settings": {"vnext": [where]}, "mux": table}
    assert parse_server(link_of_entry(of_xray(outbound))).mux == mux
