"""`ssh://` links and Clash entries.

Read first: RFC 4254 §7.2 (direct-tcpip); sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"; mihomo's page on "SSH".
"""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import ClassVar
from urllib.parse import parse_qsl, quote

from tunflow.endpoint import endpoint
from tunflow.errors import LocalError
from tunflow.protocols.clash_entry import ClashEntry
from tunflow.protocols.contract import Outbound, OutboundContext
from tunflow.protocols.link import (
    Link,
    cut,
    format_tag,
    format_user,
    format_where,
    label,
    parse_user,
    parse_where,
    printable,
)
from tunflow.protocols.quic.settings import texts
from tunflow.protocols.session import SSHLogin

_SHAPE = "ssh://[USER[:PASSWORD]@]HOST[:PORT]"
_KEYS = frozenset({"key", "passphrase", "host-key", "known-hosts"})
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
_KIND = re.compile(r"(ssh-(rsa|ed25519|dss|ed448)|ecdsa-sha2-nistp(256|384|521)|sk-[a-z0-9@.-]+)")


@dataclass(frozen=True, slots=True)
class SSHServer:
    """An SSH server."""

    wants_programs: ClassVar[bool] = False

    host: str
    port: int = 22
    user: str | None = None
    """Whom the server knows us as; None for the name of tunflow's user."""
    password: str | None = field(default=None, repr=False)
    key: tuple[str, ...] = field(default=(), repr=False)
    """Files of private keys, or the text of one; none for those of ~/.ssh and the agent's."""
    passphrase: str | None = field(default=None, repr=False)
    host_key: tuple[str, ...] = ()
    """The server's key as `SHA256:…` or as a line of a public key; none for what known_hosts says."""
    known_hosts: str | None = None
    """The file; None for ~/.ssh/known_hosts."""
    tag: str | None = None

    @property
    def label(self) -> str:
        """The server as logs name it."""
        return label("ssh", self.host, self.port, self.tag)

    @property
    def first_hop(self) -> tuple[str, int]:
        """As `Settings.first_hop`."""
        return self.host, self.port

    @classmethod
    def from_link(cls, link: Link) -> SSHServer:
        """As `Settings.from_link`."""
        parts = cut(link.rest)
        user, password = parse_user("ssh", parts.user)
        host, port = parse_where("ssh", parts.where, _SHAPE, port=22)
        values: dict[str, list[str]] = {}
        # A fingerprint has "+" in it, which forms take for a blank.
        for key, value in parse_qsl(parts.query.replace("+", "%2B"), keep_blank_values=True):
            if key not in _KEYS:
                accepted = ", ".join(sorted(_KEYS))
                raise LocalError(f"the ssh:// link has an unknown parameter {printable(key)!r}; accepted: {accepted}")
            if not value:
                raise LocalError(f"{key} in an ssh:// link is empty")
            values.setdefault(key, []).append(value)
        for key in ("passphrase", "known-hosts"):
            if len(values.get(key, ())) > 1:
                raise LocalError(f"{key} in an ssh:// link is given twice")
        return cls(
            host,
            port,
            user or None,
            password,
            tuple(values.get("key", ())),
            next(iter(values.get("passphrase", ())), None),
            tuple(_host_key("host-key", each) for each in values.get("host-key", ())),
            next(iter(values.get("known-hosts", ())), None),
            parts.tag,
        )

    @classmethod
    def from_clash(cls, entry: ClashEntry) -> SSHServer:
        """As `Settings.from_clash`."""
        host, port = entry.where()
        key = entry.text("private-key")
        host_keys = texts("host-key", entry.value("host-key"))
        entry.value("host-key-algorithms")  # which follow from the keys
        return cls(
            host,
            port,
            entry.text("username"),
            entry.text("password"),
            (key,) if key is not None else (),
            entry.text("private-key-passphrase"),
            tuple(_host_key("host-key", each) for each in host_keys),
            None,
            entry.name,
        )

    def to_link(self) -> str:
        """As `Settings.to_link`."""
        values = [("key", each) for each in self.key]
        values += [("passphrase", self.passphrase)] if self.passphrase is not None else []
        values += [("host-key", each) for each in self.host_key]
        values += [("known-hosts", self.known_hosts)] if self.known_hosts is not None else []
        query = "&".join(f"{key}={quote(value, safe='/:~@')}" for key, value in values)
        user = format_user(self.user or ("" if self.password is not None else None), self.password)
        where = format_where(self.host, self.port)
        return f"ssh://{user}{where}{'?' if query else ''}{query}{format_tag(self.tag)}"

    def outbound(self, context: OutboundContext) -> Outbound:
        """As `Settings.outbound`. Raises LocalError."""
        if find_spec("asyncssh") is None:
            raise LocalError(f"{self.label} takes asyncssh: pip install 'tunflow[ssh]'")
        login = SSHLogin(
            self.label,
            endpoint(self.host, self.port),
            self.to_link(),
            self.user,
            self.password,
            self.key,
            self.passphrase,
            self.host_key,
            self.known_hosts,
        )
        return context.session_keeper(self.label).over_ssh(login, context.below)


SETTINGS = SSHServer


def _host_key(name: str, text: str) -> str:
    """A checked host key: its fingerprint as it is, a public key as kind and base64. Raises LocalError."""
    words = text.split()
    if len(words) == 1 and _FINGERPRINT.fullmatch(words[0].rstrip("=")):
        return words[0].rstrip("=")
    if len(words) >= 2 and _KIND.fullmatch(words[0]):
        try:
            b64decode(words[1], validate=True)
        except ValueError:
            pass
        else:
            return f"{words[0]} {words[1]}"
    raise LocalError(f"{name} is a fingerprint SHA256:… (ssh-keygen -lf) or a public key (ssh-ed25519 AAAA…)")
