"""Server lists: any bytes are servers with usable links and names of their own, or a BadPacket of one line."""

from __future__ import annotations

from tunflow.errors import BadPacket
from tunflow.profiles.imports.import_notice import ImportNotice
from tunflow.profiles.imports.subscription import ServerList, server_list_untrusted
from tunflow.profiles.profile import is_profile_name
from tunflow.protocols.registry import parse_server

SEEDS: list[bytes] = [
    b"ss://YWVzLTEyOC1nY206dGVzdA@192.168.100.1:8888#Example1\n# comment\ndirect://\n",
    b"c3M6Ly9ZV1Z6TFRFeU9DMW5ZMjA2ZEdWemRBQDE5Mi4xNjguMTAwLjE6ODg4OCNFeGFtcGxlMQ==",
    b'{"version":1,"servers":[{"server":"a.example","server_port":1,"method":"aes-256-gcm","password":"x","remarks":"a"}]}',
    b'[{"server":"::1","server_port":"2","method":"aes-128-gcm","password":"x","plugin":"p","plugin_opts":"o"}]',
]


def one_input(data: bytes) -> None:
    """Raises only when the invariant is broken."""
    try:
        servers = server_list_untrusted(data)
    except BadPacket as error:
        line = str(error)
        servers = ServerList({}, [ImportNotice("", line)])
    for name, link in servers.links.items():
        assert is_profile_name(name), name
        if not link.lower().startswith("shadowvpn://"):  # carries packets: it has a parser of its own
            parse_server(link)
    for skipped in servers.skipped:
        assert skipped.reason.isprintable()
