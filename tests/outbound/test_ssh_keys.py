"""What an SSH client shows: keys of files and links, with passphrases, and what is said where one cannot be used."""

from __future__ import annotations

import asyncssh
import pytest

from tunflow.endpoint import Endpoint
from tunflow.errors import LocalError
from tunflow.outbound.ssh_keys import credentials_of
from tunflow.protocols.session import SSHLogin

FEW_ROUNDS = pytest.mark.filterwarnings("ignore:.*1 round")
"""Of bcrypt, which warns of so few: these keys protect nothing, and the usual number takes seconds."""

KEY = asyncssh.generate_private_key("ssh-ed25519")


def login(**values):
    return SSHLogin("ssh://h", Endpoint("h", 22), "ssh://h:22", user="me", **values)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / ".ssh").mkdir()
    return tmp_path / ".ssh"


def test_the_usual_keys_are_found_where_none_is_given(home):
    (home / "id_ed25519").write_bytes(KEY.export_private_key())
    (home / "known_hosts").write_bytes(b"h ssh-ed25519 AAAA\n")
    found = credentials_of(login())
    assert [key.get_fingerprint() for key in found.keys] == [KEY.get_fingerprint()]
    assert found.uses_agent
    assert found.known_hosts == b"h ssh-ed25519 AAAA\n"


@FEW_ROUNDS
def test_a_given_key_is_the_only_one(home, tmp_path):
    (home / "id_ed25519").write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_private_key())
    given = tmp_path / "key"
    given.write_bytes(KEY.export_private_key(passphrase="secret", rounds=1))
    found = credentials_of(login(keys=(str(given),), passphrase="secret", host_keys=("SHA256:x",)))
    assert [key.get_fingerprint() for key in found.keys] == [KEY.get_fingerprint()]
    assert not found.uses_agent
    assert found.known_hosts == b""
    assert credentials_of(login(keys=(KEY.export_private_key().decode(),))).keys


@FEW_ROUNDS
def test_what_cannot_be_used_is_named(tmp_path, monkeypatch):
    given = tmp_path / "key"
    with pytest.raises(LocalError, match=r"key .*/key: No such file"):
        credentials_of(login(keys=(str(given),)))
    given.write_bytes(b"what")
    with pytest.raises(LocalError, match=r"key .*/key: "):
        credentials_of(login(keys=(str(given),)))
    given.write_bytes(KEY.export_private_key(passphrase="right", rounds=1))
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(LocalError, match="there is no terminal to ask"):
        credentials_of(login(keys=(str(given),)))
    with pytest.raises(LocalError, match="the passphrase is wrong"):
        credentials_of(login(keys=(str(given),), passphrase="wrong"))
    with pytest.raises(LocalError, match="/none: No such file"):
        credentials_of(login(known_hosts=str(tmp_path / "none")))
