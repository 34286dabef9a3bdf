"""Links of proxies that are asked and answer: `socks5://`, `socks4://`, `socks4a://`, `http://`, `https://`, `tor://`.

Curl's spelling `socks5h://` is `socks5://`, and `socks://` too: a name is always left to the server here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar
from urllib.parse import quote

from tunflow.errors import LocalError
from tunflow.protocols.http import connect as http_connect
from tunflow.protocols.link_parts import (
    cut,
    format_tag,
    format_where,
    label,
    parse_options,
    parse_user,
    parse_where,
)
from tunflow.protocols.socks import socks5

SOCKS_PORT = 1080
"""IANA's "socks"."""
TOR_HOST, TOR_PORT = "127.0.0.1", 9050
"""tor(1), SocksPort: where it listens by default."""

_YES_NO = ("yes", "no")
_ISOLATE = ("flow", "program")


@dataclass(frozen=True, slots=True)
class SocksServer:
    """A SOCKS server; `scheme` is "socks5", "socks4" or "socks4a". SOCKS4 has a user id and no password.

    With `optimistic` a flow's bytes follow the request at once, for servers that take that (SOCKS5): it saves a round
    trip, and a refusal resets the client's connection instead of refusing it.
    """

    scheme: str
    host: str
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    optimistic: bool = False
    tag: str | None = None

    @property
    def label(self) -> str:
        """The server as logs name it."""
        return label(self.scheme, self.host, self.port, self.tag)


@dataclass(frozen=True, slots=True)
class HTTPServer:
    """An HTTP proxy, over TLS if its `scheme` is "https"."""

    scheme: str
    host: str
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tag: str | None = None

    @property
    def label(self) -> str:
        """The server as logs name it."""
        return label(self.scheme, self.host, self.port, self.tag)


@dataclass(frozen=True, slots=True)
class TorServer:
    """Tor's SOCKS port. `isolate` is what has circuits of its own: "flow", "program", or None for this process."""

    scheme: ClassVar[str] = "tor"

    host: str = TOR_HOST
    port: int = TOR_PORT
    isolate: str | None = None
    optimistic: bool = False
    tag: str | None = None

    @property
    def label(self) -> str:
        """The server as logs name it."""
        return label("tor", self.host, self.port, self.tag)


def parse_socks(scheme: str, rest: str) -> SocksServer:
    """The server in a link behind `socks…://`. Raises LocalError."""
    parts = cut(rest)
    user, password = parse_user(scheme, parts.user)
    is_version_5 = scheme not in {"socks4", "socks4a"}
    scheme = "socks5" if is_version_5 else scheme
    sign_in = "[USER:PASSWORD@]" if is_version_5 else "[USER@]"
    host, port = parse_where(scheme, parts.where, f"{scheme}://{sign_in}HOST:PORT", port=SOCKS_PORT)
    options = parse_options(scheme, parts.query, {"optimistic": _YES_NO} if is_version_5 else {})
    if is_version_5:
        if user is not None:
            socks5.credentials(user, password or "")
    elif password is not None:
        raise LocalError(f"{scheme}:// has a user name only, no password")
    elif user is not None and "\0" in user:
        raise LocalError(f"the user name of a {scheme}:// link has no NUL in it")
    return SocksServer(scheme, host, port, user, password, options.get("optimistic") == "yes", parts.tag)


def parse_http(scheme: str, rest: str) -> HTTPServer:
    """The server in a link behind `http://` or `https://`. Raises LocalError."""
    parts = cut(rest)
    user, password = parse_user(scheme, parts.user)
    host, port = parse_where(scheme, parts.where, f"{scheme}://[USER:PASSWORD@]HOST:PORT")
    parse_options(scheme, parts.query, {})
    if user is not None:
        http_connect.basic(user, password or "")
    return HTTPServer(scheme, host, port, user, password, parts.tag)


def parse_tor(rest: str) -> TorServer:
    """The server in a link behind `tor://`. Raises LocalError."""
    parts = cut(rest)
    if parts.user is not None:
        raise LocalError("tor:// takes no user name or password: they are what tells circuits apart")
    host, port = parse_where("tor", parts.where, "tor://[HOST[:PORT]]", listening=True, port=TOR_PORT)
    options = parse_options("tor", parts.query, {"isolate": _ISOLATE, "optimistic": _YES_NO})
    return TorServer(host or TOR_HOST, port, options.get("isolate"), options.get("optimistic") == "yes", parts.tag)


def format_link(server: SocksServer | HTTPServer | TorServer) -> str:
    """The link; it holds the password."""
    options = []
    user = ""
    if isinstance(server, TorServer):
        options += [f"isolate={server.isolate}"] if server.isolate else []
    elif server.user is not None:
        password = f":{quote(server.password, safe='')}" if server.password is not None else ""
        user = f"{quote(server.user, safe='')}{password}@"
    if not isinstance(server, HTTPServer) and server.optimistic:
        options.append("optimistic=yes")
    query = f"?{'&'.join(options)}" if options else ""
    return f"{server.scheme}://{user}{format_where(server.host, server.port)}{query}{format_tag(server.tag)}"
