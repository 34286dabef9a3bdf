"""Servers as other programs write them, and what a file is that has none."""

from __future__ import annotations

import json

import pytest

from tunflow.errors import LocalError
from tunflow.profiles.imports.importer import Imported, Source, import_profile
from tunflow.protocols.registry import parse_server

OURS = {"server": "192.0.2.1", "server_port": 8388, "method": "aes-256-gcm", "password": "p"}


def imported(content: str | bytes) -> Imported:
    return import_profile(Source(content.encode() if isinstance(content, str) else content, "the file", "given"))


def links(made: Imported) -> list[str]:
    profile = made.profile
    return [*profile.server, *(str(section.url) for section in profile.servers.values())]


def test_a_sing_box_file_gives_its_servers() -> None:
    outbounds = [
        {**OURS, "type": "shadowsocks", "tag": "a"},
        {"type": "socks", "tag": "s", "server": "2001:db8::1", "server_port": 1080, "username": "u", "password": "p"},
        {"type": "http", "tag": "h", "server": "h.example", "server_port": 8080},
        {**OURS, "type": "shadowsocks", "tag": "plugin", "plugin": "obfs-local"},
        {"type": "http", "tag": "tls", "server": "h.example", "server_port": 443, "tls": {"enabled": True}},
        {"type": "snell", "tag": "v", "server": "h.example", "server_port": 443},
        {"type": "direct", "tag": "direct"},
        {"type": "selector", "tag": "g", "outbounds": ["a"]},
    ]
    made = imported(json.dumps({"outbounds": outbounds}))
    assert [parse_server(link).label for link in links(made)] == [
        "ss://aes-256-gcm@192.0.2.1:8388#a",
        "socks5://[2001:db8::1]:1080#s",
        "http://h.example:8080#h",
    ]
    assert [(each.place, each.reason.split(" is not")[0]) for each in made.told] == [
        ("outbounds[3]", "plugin"),
        ("outbounds[4]", "tls"),
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
        (
            b"[General]\nloglevel = notify\n[Proxy]\na = ss, h.example, 8388\n",
            "a Surge configuration, which is not read",
        ),
        (b"\x1f\x8b\x08", "a packed file"),
        (b"\x89PNG\r\n", "a picture"),
    ],
)
def test_a_file_that_is_something_else_is_named_for_what_it_is(content: bytes, what: str) -> None:
    with pytest.raises(LocalError, match=f"the file is {what}"):
        imported(content)
