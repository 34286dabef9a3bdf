"""Profiles: any text is a profile that can be written and read again, or a LocalError of one printable line."""

from __future__ import annotations

from tunflow.errors import LocalError
from tunflow.profiles.file import parse

SEEDS: list[bytes] = [
    b'server = ["ss://aes-256-gcm:p@h:1", "direct://"]\nrules = ["MATCH,a"]\n[servers.a]\nurl = "direct://"\n',
    b'[tunnel]\nmtu = 9000\n[[apps]]\nuid = "root"\n',
    b'[on_demand]\nrules = [\n{ action = "connect", probe_url = "http://a/" },\n{ action = "ignore" } ]\n',
    b'a."b c".d = 1979-05-27T07:32:00Z\nx = """\ny"""\n[[z]]\n[[z]]\n[z.q]\nw = { v = [1, 2] }\n',
    b'provider = "a:B"\n[provider_configuration]\n[groups.g]\ntype = "select"\nservers = ["a"]\n',
]


def one_input(data: bytes) -> None:
    """Raises only when the invariant is broken."""
    line = ""
    try:
        profile = parse(data.decode("utf-8", "replace"), "p.toml")
    except LocalError as error:
        line = str(error)
    else:
        assert profile.at("server").startswith("p.toml")
    assert line.isprintable(), line
