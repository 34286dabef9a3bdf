"""What says two things is refused wherever others wrote it: links, files, lists, requests, the command line."""

from __future__ import annotations

import asyncio
import json
import plistlib
from base64 import b64encode

import pytest
from starlette.requests import Request

from tunflow.api.facts import Unanswerable
from tunflow.api.request_body import body_object
from tunflow.cli.provider_options import configuration_of
from tunflow.errors import BadPacket, LocalError
from tunflow.profiles.imports.importer import ImportSource, import_profile
from tunflow.profiles.imports.plist_file import plist_file_untrusted
from tunflow.profiles.imports.surge import read_surge
from tunflow.protocols.registry import parse_server
from tunflow.protocols.shadowvpn.settings import parse_file
from tunflow.rules.headless_rules import source_rules
from tunflow.single_values import TwoValues, json_value

AT = "h.example:443"
ID = "00000000-0000-0000-0000-000000000000"
KEY = b64encode(bytes(range(32))).decode()


def in_base64(text: str) -> str:
    return b64encode(text.encode()).decode()


VMESS = json.dumps({"add": "h.example", "port": "443", "id": ID, "tls": "tls", "aid": "0"})
HOSTS = '{"host": "a", "host": "b"}'
ROCKET = f"vless://{in_base64(f'auto:{ID}@{AT}')}?obfs=websocket&obfsParam="
ONE = json.dumps([{"server": "h.example", "server_port": 1, "method": "aes-256-gcm", "password": "p"}])


@pytest.mark.parametrize(
    ("link", "told"),
    [
        (f"socks5://{AT}?udp=yes&udp=no", "udp in a socks5:// link"),
        (f"tor://{AT}?isolate=flow&isolate=program", "isolate in a tor:// link"),
        (f"shadowvpn://p@{AT}?mtu=1400&mtu=1300", "mtu in a shadowvpn:// link"),
        (f"openconnect://u:p@{AT}?pin=sha256:{'a' * 64}&pin=sha256:{'b' * 64}", "pin in an openconnect:// link"),
        (f"ikev2://u:p@{AT}?remote_id=a&remote_id=b", "remote_id in an ikev2:// link"),
        (f"wireguard://{KEY}@{AT}?publickey={KEY}&address=10.0.0.2&PublicKey={KEY[::-1]}", "publickey in a wireguard"),
        (f"trojan://p@{AT}?ws=1&ws=0", "ws in a trojan:// link"),
        (f"trojan://p@{AT}?plugin=obfs-local;obfs-host=a;obfs-host=b", "obfs-host in a trojan:// link"),
        (f"ss://aes-256-gcm:p@{AT}?plugin=obfs-local;obfs=tls;obfs=http", "obfs-local: obfs"),
        (f"ss://aes-256-gcm:p@{AT}?plugin=v2ray-plugin;tls;host=a;host=b;mux=0", "v2ray-plugin: host"),
        (f"ss://aes-256-gcm:p@{AT}?v2ray-plugin={in_base64(HOSTS)}", "v2ray-plugin in an ss://"),
        ("vmess://" + in_base64(VMESS[:-1] + ', "tls": ""}'), "in the vmess:// link 'tls'"),
        (ROCKET + '{"Host":"a","Host":"b"}', "obfsParam: 'Host'"),
        (ROCKET + '{"Host":"a","host":"b"}', "obfsParam has Host and host, with two values"),
    ],
)
def test_links(link: str, told: str) -> None:
    with pytest.raises(LocalError) as caught:
        parse_server(link)
    assert str(caught.value).startswith(told)
    assert "twice" in str(caught.value) or "two values" in str(caught.value)


def test_a_plugin_that_is_a_program_reads_its_options_itself() -> None:
    parse_server(f"ss://aes-256-gcm:p@{AT}?plugin=gost-plugin;mode=ws;mode=mws")


def test_the_same_value_twice_is_one() -> None:
    parse_server(f"socks5://{AT}?udp=no&udp=no")
    assert json_value('{"a": [1], "a": [1]}') == {"a": [1]}


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("s.json", ONE.replace('"p"', '"p", "password": "q"'), "'password' is given twice, with two values"),
        ("s.json5", ONE.replace('"p"', "'p', password: 'q',"), "'password' is given twice, with two values"),
        (
            "c.yaml",
            "proxies:\n- {name: a, type: ss, server: h.example, port: 1, cipher: aes-256-gcm, password: p}\n"
            "mode: rule\nmode: direct\nrules:\n- MATCH,a\n",
            "c.yaml:4: 'mode' is given twice, with two values; the other is at c.yaml:3",
        ),
    ],
)
def test_files_of_other_programs(file: str, content: str, told: str) -> None:
    with pytest.raises(LocalError) as caught:
        import_profile(ImportSource(content.encode(), file, "x"))
    assert told in str(caught.value)


def test_a_configuration_profile() -> None:
    content = plistlib.dumps({"PayloadType": "Configuration", "PayloadVersion": 1})
    twice = content.replace(b"</dict>", b"<key>PayloadType</key><string>other</string></dict>")
    with pytest.raises(BadPacket, match="'PayloadType' is given twice"):
        plist_file_untrusted(twice)


def test_lines_of_surge() -> None:
    text = "[Proxy]\na = ss, h.example, 1, encrypt-method=aes-256-gcm, password=p\n"
    text += "b = ss, h.example, 1, encrypt-method=aes-256-gcm, password=p, password=q\n"
    text += "[Proxy Group]\ng = select, a, hidden=true, hidden=false\n[Rule]\nFINAL,a\n"
    lost = [f"{each.place} {each.reason}" for each in read_surge(text, "s.conf", None).told if each.is_lost]
    assert lost == [
        "s.conf:3 proxy 'b': 'password' is given twice, with two values",
        "s.conf:5 group 'g': 'hidden' is given twice, with two values",
    ]


def test_a_file_of_shadowvpn() -> None:
    lines = ["mode=client", "server=h.example", "port=1123", "password=p", "password=q"]
    with pytest.raises(LocalError, match=r"client\.conf:5: 'password' is given twice"):
        parse_file(lines, "client.conf")


def test_a_list_of_rules() -> None:
    with pytest.raises(TwoValues):
        source_rules('{"version": 1, "rules": [{"domain": "a", "domain": "b"}]}')


def test_a_request_of_a_dashboard() -> None:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b'{"name": "a", "name": "b"}', "more_body": False}

    request = Request({"type": "http", "method": "PUT", "headers": []}, receive)
    with pytest.raises(Unanswerable, match="in the body 'name' is given twice"):
        asyncio.run(body_object(request))


def test_a_setting_of_the_command_line() -> None:
    with pytest.raises(LocalError, match="--config: 'a' is given twice"):
        configuration_of(["a=1", "a=2"])


def test_json_nested_too_deep_is_no_json() -> None:
    with pytest.raises(ValueError, match="too deep"):
        json_value("[" * 100_000)
