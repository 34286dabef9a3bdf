"""`ssh://` links, and SSH servers of Clash files."""

from __future__ import annotations

import pytest

from tunflow.errors import LocalError
from tunflow.protocols.registry import clash_server, parse_server
from tunflow.protocols.ssh.settings import SSHServer

PRINT = "SHA256:" + "Ab+/" * 10 + "xyz"
PUBLIC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJAB"

LINKS = [
    "ssh://h.example:22",
    "ssh://me:p%40ss@[2001:db8::1]:2222#name",
    f"ssh://me@h.example:22?key=/home/me/.ssh/id&key=~/other&host-key={PRINT.replace('+', '%2B')}&known-hosts=/k",
    "ssh://me@h.example:22?key=/k&passphrase=a%20b%26c",
]


@pytest.mark.parametrize("link", LINKS)
def test_links_come_back_as_they_were(link):
    assert parse_server(link).to_link() == link


def test_a_fingerprint_may_be_copied_as_ssh_keygen_writes_it():
    server = parse_server(f"ssh://h.example?host-key={PRINT}")
    assert isinstance(server, SSHServer)
    assert server.host_key == (PRINT,)
    assert server.first_hop == ("h.example", 22)
    assert parse_server(f"ssh://h.example?host-key={PUBLIC.replace(' ', '%20')}%20me%40there").host_key == (PUBLIC,)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("?what=1", "unknown parameter 'what'; accepted: host-key, key, known-hosts, passphrase"),
        ("?key=", "key in an ssh:// link is empty"),
        ("?host-key=MD5:00", "host-key is a fingerprint SHA256"),
        ("?host-key=SHA256:short", "host-key is a fingerprint SHA256"),
        ("?host-key=ssh-ed25519%20!!", "host-key is a fingerprint SHA256"),
        ("?passphrase=a&passphrase=b", "passphrase in an ssh:// link is given twice"),
    ],
)
def test_links_that_cannot_be_done_are_refused(more, words):
    with pytest.raises(LocalError, match=words) as caught:
        parse_server(f"ssh://me:S3CRET@h.example{more}")
    assert "S3CRET" not in str(caught.value)
    assert "S3CRET" not in repr(parse_server("ssh://me:S3CRET@h.example"))


def test_a_clash_entry_is_the_same_server():
    server, unread = clash_server(
        {
            "name": "n",
            "type": "ssh",
            "server": "h.example",
            "port": "22",
            "username": "me",
            "private-key": "/k",
            "private-key-passphrase": "p",
            "host-key": [PUBLIC],
            "host-key-algorithms": ["rsa"],
        }
    )
    assert not unread
    assert server == SSHServer("h.example", 22, "me", None, ("/k",), "p", (PUBLIC,), None, "n")
