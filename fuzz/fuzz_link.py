"""Server links: any text is a server whose link parses back equal, or a LocalError of one printable line."""

from __future__ import annotations

from tunflow.errors import LocalError
from tunflow.protocols.registry import parse_server

SEEDS: list[bytes] = [
    b"ss://YWVzLTEyOC1nY206dGVzdA@192.168.100.1:8888#Example1",
    b"ss://aes-256-gcm:p%40ss@[2001:db8::1]:8388/?unknown=1#a%20tag",
    b"ss://YWVzLTI1Ni1nY206cGFzc0Bob3N0OjE#tag",
    b"ss://cmM0LW1kNTpwYXNzd2Q@192.168.100.1:8888/?plugin=obfs-local%3Bobfs%3Dhttp#Example2",
    b"direct://",
    b"socks5://host:1",
    b"trojan://p%40ss@host?type=ws&path=%2Fray%3Fed%3D2048&alpn=http%2F1.1",
    b"vmess://01234567-89ab-cdef-0123-456789abcdef@host:1?type=ws&path=/x",
    b"vmess://eyJhZGQiOiJoIiwicG9ydCI6MSwiaWQiOiIwMTIzNDU2Ny04OWFiLWNkZWYtMDEyMy00NTY3ODlhYmNkZWYifQ==",
    b"vless://01234567-89ab-cdef-0123-456789abcdef@host:1?encryption=none&security=tls&sni=a",
]


def one_input(data: bytes) -> None:
    """Raises only when the invariant is broken."""
    try:
        server = parse_server(data.decode("utf-8", "replace"))
    except LocalError as error:
        line = str(error)
    else:
        assert parse_server(server.to_link()) == server
        line = server.label
    assert line.isprintable()
