"""A server that the program `openconnect` speaks with, from a link.

`openconnect://USER:PASSWORD@HOST[:PORT]?protocol=anyconnect&pin=pin-sha256:…`; what is missing of user and password is
asked on the terminal. Read first: openconnect(8).
"""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import dataclass, field
from typing import ClassVar

from tunflow.errors import LocalError
from tunflow.protocols.clash_entry import ClashEntry
from tunflow.protocols.contract import Outbound, OutboundContext
from tunflow.protocols.link import (
    Link,
    cut,
    format_options,
    format_tag,
    format_user,
    format_where,
    label,
    parse_user,
    parse_where,
    printable_parameters,
)

SCHEME = "openconnect"
SHAPE = "openconnect://USER:PASSWORD@HOST[:PORT]?protocol=anyconnect&pin=pin-sha256:…"
DIALECTS = ("anyconnect", "nc", "gp", "pulse", "f5", "fortinet", "array")
"""What `openconnect --protocol` takes: Cisco and ocserv, Juniper, GlobalProtect, Pulse, F5, Fortinet, Array."""
DEFAULT_PORT = 443

_OPTIONS = ("protocol", "pin", "authgroup", "usergroup", "certificate", "key", "ca")
_SHA256_SIZE = 32


@dataclass(frozen=True, slots=True)
class OpenConnectServer:
    """One server, and who its user is."""

    host: str
    port: int = DEFAULT_PORT
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    dialect: str = "anyconnect"
    pin: str | None = None
    """The only key or certificate that is trusted: `pin-sha256:BASE64` or `sha256:HEX`. None: the system's CAs."""
    authgroup: str | None = None
    """What to choose in the server's form where it asks for a group or realm."""
    usergroup: str | None = None
    """The path of the server's URL, which chooses a group or gateway before any form."""
    certificate: str | None = None
    """A file with the user's certificate; `key` is its key's, where that is another file."""
    key: str | None = None
    ca: str | None = None
    """A file with the CAs to trust."""
    tag: str | None = None

    wants_programs: ClassVar[bool] = False

    @property
    def label(self) -> str:
        """As `Settings.label`."""
        return label(SCHEME, self.host, self.port, self.tag)

    @property
    def first_hop(self) -> tuple[str, int]:
        """As `Settings.first_hop`."""
        return self.host, self.port

    @property
    def provider(self) -> str:
        """As `PacketTunnel.provider`."""
        return SCHEME

    @property
    def provider_configuration(self) -> dict[str, object]:
        """As `PacketTunnel.provider_configuration`."""
        return {"link": self.to_link()}

    @classmethod
    def from_link(cls, link: Link) -> OpenConnectServer:
        """As `Settings.from_link`."""
        if link.listening:
            raise LocalError("tunflow is no AnyConnect server; ocserv is one")
        user_text, where, query, tag = cut(link.rest)
        host, port = parse_where(SCHEME, where, SHAPE, port=DEFAULT_PORT)
        user, password = parse_user(SCHEME, user_text)
        if not f"{user}{password}".isprintable():
            raise LocalError(f"user or password in an {SCHEME}:// link has characters that cannot be printed")
        options = printable_parameters(SCHEME, query, _OPTIONS)
        dialect = options.get("protocol", "anyconnect")
        if dialect not in DIALECTS:
            raise LocalError(f"protocol in an {SCHEME}:// link is one of {', '.join(DIALECTS)}")
        if "key" in options and "certificate" not in options:
            raise LocalError(f"the {SCHEME}:// link has a key and no certificate")
        return cls(
            host,
            port,
            user,
            password,
            dialect,
            _pin(options.get("pin")),
            options.get("authgroup"),
            options.get("usergroup"),
            options.get("certificate"),
            options.get("key"),
            options.get("ca"),
            tag,
        )

    @classmethod
    def from_clash(cls, _entry: ClashEntry) -> OpenConnectServer:
        """Raises LocalError: Clash has no such type."""
        raise LocalError("a Clash file has no OpenConnect")

    def to_link(self) -> str:
        """As `Settings.to_link`."""
        named = {
            "protocol": self.dialect,
            "pin": self.pin,
            "authgroup": self.authgroup,
            "usergroup": self.usergroup,
            "certificate": self.certificate,
            "key": self.key,
            "ca": self.ca,
        }
        options = format_options({key: value for key, value in named.items() if value is not None})
        user = format_user(self.user, self.password)
        return f"{SCHEME}://{user}{format_where(self.host, self.port)}{options}{format_tag(self.tag)}"

    def outbound(self, context: OutboundContext) -> Outbound:
        """As `Settings.outbound`: by a stack at the tunnel's near end. Raises LocalError where nobody runs one."""
        return context.tunnel(self)

    def configuration_file(self, proxy: str, script: str) -> str:
        """The file for `openconnect --config`, a long option a line. The password is not in it.

        `proxy` is the URL by which the server is reached, `script` the command that is given the packets.
        """
        host = f"[{self.host}]" if ":" in self.host else self.host
        lines = [
            f"server=https://{host}:{self.port}/{self.usergroup or ''}",
            f"protocol={self.dialect}",
            f"proxy={proxy}",
            f"script={script}",
            "script-tun",
            "no-dtls",
            "reconnect-timeout=60",
        ]
        named = {
            "user": self.user,
            "servercert": self.pin,
            "authgroup": self.authgroup,
            "certificate": self.certificate,
            "sslkey": self.key,
            "cafile": self.ca,
        }
        return "".join(f"{line}\n" for line in (*lines, *(f"{key}={text}" for key, text in named.items() if text)))


def _pin(text: str | None) -> str | None:
    """The fingerprint as openconnect takes it. Raises LocalError."""
    if text is None:
        return None
    kind, _, value = text.partition(":")
    if kind == "pin-sha256":
        value = value.replace(" ", "+")  # a bare + in a query reads as a space
        try:
            if len(b64decode(value, validate=True)) == _SHA256_SIZE:
                return f"{kind}:{value}"
        except ValueError:
            pass
    elif kind == "sha256" and re.fullmatch(r"[0-9a-fA-F]{64}", value):
        return f"{kind}:{value.lower()}"
    raise LocalError(
        f"pin in an {SCHEME}:// link is pin-sha256: and 32 bytes in base64, or sha256: and 64 hexadecimal digits"
    )


SETTINGS = OpenConnectServer
