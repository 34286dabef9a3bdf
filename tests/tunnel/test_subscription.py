"""What is understood of other programs' server lists, and what is said about the rest."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tunflow.errors import BadPacket, LocalError, RemoteError
from tunflow.profiles.imports.fetch import fetch
from tunflow.profiles.imports.importer import import_profile, read_source
from tunflow.profiles.imports.subscription import name_from, server_list_untrusted
from tunflow.profiles.server_link import ServerLink
from tunflow.protocols.registry import parse_server
from tunflow.protocols.shadowsocks.settings import ShadowsocksServer

LINK = "ss://YWVzLTEyOC1nY206dGVzdA@192.168.100.1:8888#Example1"
PLUGIN = "ss://cmM0LW1kNTpwYXNzd2Q@192.168.100.1:8888/?plugin=obfs-local%3Bobfs%3Dhttp#Example2"
"""Published in SIP002."""
SIP008 = {
    "version": 1,
    "servers": [
        {
            "id": "27b8a625-4f4b-4428-9f0f-8a2317db7c79", "remarks": "Name of the server", "server": "example.com",
            "server_port": 8388, "password": "p@ss/w#rd", "method": "chacha20-ietf-poly1305", "unknown": 1,
        },
        {"server": "fd00::1", "server_port": "443", "password": "x", "method": "aes-256-gcm"},
        {"server": "example.com", "server_port": 70000, "password": "x", "method": "aes-256-gcm"},
        {"server": "example.com", "server_port": 1, "password": "x", "method": "rc4-md5"},
        "nonsense",
    ],
    "bytes_used": 274877906944,
}  # fmt: skip
"""After the example of SIP008."""


@pytest.mark.parametrize("wrap", [bytes, b64encode, urlsafe_b64encode, lambda text: b64encode(text).rstrip(b"=")])
def test_links_by_the_line_and_in_base64(wrap: object) -> None:
    text = f"{LINK}\r\n\r\n# remark\n{PLUGIN}\n{LINK}\n".encode()
    servers = server_list_untrusted(wrap(text))  # type: ignore[operator]
    assert servers.links == {"Example1": LINK, "Example1-2": LINK}
    assert [(each.place, "obfs-local" in each.reason or "rc4" in each.reason) for each in servers.skipped] == [
        ("line 4 (Example2)", True)
    ]


def test_sip008() -> None:
    servers = server_list_untrusted(json.dumps(SIP008).encode())
    assert [parse_server(link) for link in servers.links.values()] == [
        ShadowsocksServer("example.com", 8388, "chacha20-ietf-poly1305", "p@ss/w#rd", "Name of the server"),
        ShadowsocksServer("fd00::1", 443, "aes-256-gcm", "x"),
    ]
    assert next(iter(servers.links)) == "Name-of-the-server"
    assert [each.place for each in servers.skipped] == ["servers[2]", "servers[3]", "servers[4]"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"hello",
        b"{",
        b"[]",
        b'{"servers":5}',
        b"[" * 100_000,
        b"gopher://x",
        b'{"servers":[{"server":1}]}',
    ],
)
def test_what_holds_no_server(content: bytes) -> None:
    with pytest.raises(BadPacket):
        server_list_untrusted(content)


@pytest.mark.parametrize(
    ("text", "name"),
    [("日本 1", "日本-1"), ("../../etc", "etc"), ("a\tb\n", "a-b"), ("", "server"), ("🇩🇪", "server"), ("x.toml", "x")],
)
def test_names_that_files_take(text: str, name: str) -> None:
    assert name_from(text) == name


def test_one_link_is_a_server_and_several_are_a_group() -> None:
    one = import_profile(read_source(LINK)).profile
    assert (one.name, one.server) == ("Example1", (ServerLink.of(LINK),))
    imported = import_profile(read_source(LINK)._replace(content=json.dumps(SIP008).encode(), name="sub"))
    profile = imported.profile
    assert profile.name == "sub"
    assert list(profile.servers) == list(profile.groups["servers"].servers)
    assert profile.rules == ("MATCH,servers",)
    assert len(imported.told) == 3


def test_a_source_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="cannot read"):
        read_source(str(tmp_path / "nothing"))
    with pytest.raises(LocalError, match="unknown server scheme"):
        read_source("gopher://x")


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/file":
            self.send_response(302)
            self.send_header("Location", "file:///etc/passwd")
        elif self.path == "/there":
            self.send_response(302)
            self.send_header("Location", "/list?token=SECRET")
        else:
            self.send_response(200 if self.path.startswith(("/list", "/long")) else 404)
        self.end_headers()
        if self.path.startswith("/list"):
            self.wfile.write(b64encode(LINK.encode()))
        if self.path == "/long":
            self.wfile.write(bytes(5000))

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def web() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_fetching_is_bounded_and_follows_to_the_web_only() -> None:
    with web() as site:
        assert [each.text for each in import_profile(read_source(f"{site}/there")).profile.server] == [LINK]
        for path, said in (
            ("/none", "status 404"),
            ("/file", "cannot fetch|unknown url type|status"),
            ("/long", "more than 4096 bytes"),
        ):
            with pytest.raises(RemoteError, match=said) as caught:
                fetch(f"{site}{path}", largest=4096)
            assert "127.0.0.1" in str(caught.value)
    with pytest.raises(RemoteError, match="cannot fetch from 127"):
        fetch(f"{site}/list?token=SECRET")
    moments = iter((0.0, 30.0, 60.0, 90.0))
    with web() as site, pytest.raises(RemoteError, match="took more than"):
        fetch(f"{site}/long", clock=lambda: next(moments))
