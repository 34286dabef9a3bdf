"""What an SSH client shows and trusts, read before anything is served: later there may be no terminal and no rights.

Read first: ssh(1), "FILES"; sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT".
"""

from __future__ import annotations

import getpass
import os
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import asyncssh

from tunflow.errors import LocalError
from tunflow.protocols.session import SSHLogin

DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
"""In ~/.ssh."""
_PEM = "-----BEGIN "


class SSHCredentials(NamedTuple):
    """What a connection is made with."""

    user: str
    keys: tuple[asyncssh.SSHKey, ...]
    uses_agent: bool
    """True if the agent's keys are shown, too."""
    known_hosts: bytes
    """The content of known_hosts; empty where the server's key is given."""
    known_hosts_file: str


def credentials_of(login: SSHLogin) -> SSHCredentials:
    """Read the keys, asking on the terminal for the passphrase of one that has one.

    Raises LocalError that names the file.
    """
    where = Path(login.known_hosts).expanduser() if login.known_hosts else Path.home() / ".ssh" / "known_hosts"
    known = b""
    if not login.host_keys:
        try:
            known = where.read_bytes()
        except OSError as error:
            if login.known_hosts:
                raise LocalError(f"{login.label}: {where}: {error.strerror}") from None
    if login.keys:
        keys = tuple(_key(login, each, must_be=True) for each in login.keys)
    else:
        found = [Path.home() / ".ssh" / name for name in DEFAULT_KEYS]
        keys = tuple(_key(login, str(path), must_be=False) for path in found if path.exists())
    return SSHCredentials(
        login.user or getpass.getuser(),
        tuple(key for key in keys if key is not None),
        not login.keys,
        known,
        str(where),
    )


def _key(login: SSHLogin, key: str, *, must_be: bool) -> asyncssh.SSHKey | None:
    """A key of a file, or of a link; None for one of the usual ones that cannot be used. Raises LocalError."""
    if key.lstrip().startswith(_PEM):
        return _opened(login.label, "its key", key.encode(), login.passphrase, asks=must_be)
    path = Path(key).expanduser()
    try:
        content = path.read_bytes()
    except OSError as error:
        if must_be:
            raise LocalError(f"{login.label}: key {path}: {error.strerror}") from None
        return None
    if not must_be and "SSH_AUTH_SOCK" in os.environ and _is_encrypted(content):
        return None  # it is the agent's to have
    try:
        return _opened(login.label, f"key {path}", content, login.passphrase, asks=True)
    except LocalError:
        if must_be or sys.stdin.isatty():
            raise
        return None


def _is_encrypted(content: bytes) -> bool:
    try:
        asyncssh.import_private_key(content)
    except asyncssh.KeyImportError as error:
        return _wants_passphrase(error)
    return False


def _wants_passphrase(error: Exception) -> bool:
    return "passphrase" in str(error).lower() or "decrypt" in str(error).lower()


@cache
def _opened(where: str, what: str, content: bytes, passphrase: str | None, *, asks: bool) -> asyncssh.SSHKey:
    """Raises LocalError. A passphrase is asked for once, whatever is loaded anew."""
    try:
        return asyncssh.import_private_key(content, passphrase)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        if not _wants_passphrase(error):
            raise LocalError(f"{where}: {what}: {error}") from None
        if passphrase is not None:
            raise LocalError(f"{where}: {what}: the passphrase is wrong") from None
    if not asks or not sys.stdin.isatty():
        raise LocalError(f"{where}: {what} has a passphrase, and there is no terminal to ask for it: use ssh-agent")
    typed = getpass.getpass(f"{where}: passphrase of {what}: ")
    return _opened(where, what, content, typed, asks=False)
