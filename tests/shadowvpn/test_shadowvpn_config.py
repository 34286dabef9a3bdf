"""Links and the original's configuration files."""

from __future__ import annotations

from ipaddress import IPv4Interface

import pytest

from tunflow.errors import LocalError
from tunflow.protocols.shadowvpn.settings import ShadowVPNConfig, format_link, parse_file, parse_link

TOKEN = "7e335d67f1dc2c01"
CLIENT = ShadowVPNConfig("vpn.example", 1123, "p@ss/word?", IPv4Interface("10.7.0.2/24"), 1432, (bytes.fromhex(TOKEN),))


def test_a_link_and_back():
    link = f"shadowvpn://p%40ss%2Fword%3F@vpn.example:1123?net=10.7.0.2/24&mtu=1432&user_token={TOKEN}"
    assert parse_link(link) == CLIENT
    assert parse_link(format_link(CLIENT)) == CLIENT
    assert "p@ss" not in repr(CLIENT)
    assert CLIENT.label == "shadowvpn://vpn.example:1123"


def test_defaults():
    config = parse_link("shadowvpn://secret@[2001:db8::1]:99")
    assert (config.server, config.net, config.mtu, config.user_tokens) == (
        "2001:db8::1", IPv4Interface("10.7.0.2/24"), 1432, ())  # fmt: skip
    assert parse_link("shadowvpn://x@0.0.0.0:99", serving=True).net == IPv4Interface("10.7.0.1/24")


def test_a_file_of_the_original():
    lines = ["# a comment", "", "server=vpn.example", "port=1123", "password=p@ss/word?", f"user_token={TOKEN}",
             "mode=client", "concurrency=1", "mtu=1432", "intf=tun0", "net=10.7.0.2/24", "up=/etc/up.sh",
             "down=/etc/down.sh", "pidfile=/x", "logfile=/y"]  # fmt: skip
    assert parse_file(lines, "client.conf") == CLIENT


@pytest.mark.parametrize(
    ("link", "says"),
    [
        ("shadowvpn://vpn.example:1", "password is missing"),
        ("shadowvpn://s3cret@vpn.example", "port is missing"),
        ("shadowvpn://s3cret@vpn.example:0", "port 0"),
        ("shadowvpn://s3cret@vpn.example:x", "port 'x' is not a number"),
        ("shadowvpn://s3cret@vpn.example:1?user_token=abcd", "16 hexadecimal digits"),
        (f"shadowvpn://s3cret@vpn.example:1?user_token={TOKEN},{TOKEN[::-1]}", "one user_token"),
        ("shadowvpn://s3cret@vpn.example:1?mtu=9001", "from 92 to 9000"),
        ("shadowvpn://s3cret@vpn.example:1?mtu=91", "from 92 to 9000"),
        ("shadowvpn://s3cret@vpn.example:1?net=10.7", "10.7.0.2/24"),
        ("shadowvpn://s3cret@vpn.example:1?colour=red", "unknown key 'colour'"),
    ],
)
def test_links_that_are_wrong(link, says):
    with pytest.raises(LocalError, match=says) as caught:
        parse_link(link)
    assert "s3cret" not in str(caught.value)


LINES = ("mode=client", "server=a", "port=1", "password=x")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("nonsense", "f.conf:5: 'nonsense' is not key=value"),
        ("colour=red", "f.conf:5: unknown key 'colour'"),
        ("mode=both", "mode is 'both'"),
        ("mode=server", "mode is 'server'; accepted is client. A server is `tunflow serve`"),
        ("password=", "password is missing"),
        ("concurrency=4", "concurrency is '4'"),
    ],
)
def test_files_that_are_wrong(change, says):
    key = change.partition("=")[0]
    lines = [*(each for each in LINES if each.partition("=")[0] != key), change]
    with pytest.raises(LocalError, match=says):
        parse_file(lines, "f.conf")
