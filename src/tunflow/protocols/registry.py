"""Links that name a server: `ss://…`, `socks5://…`, `http://…`, `tor://`, `direct://`, `block://`.

A link holds a password, so no error and no label shows more of one than its scheme, method, host, port,
plugin name and tag.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from tunflow.errors import LocalError
from tunflow.protocols import link_proxies
from tunflow.protocols.link_proxies import HTTPServer, SocksServer, TorServer
from tunflow.protocols.shadowsocks import settings as link_shadowsocks
from tunflow.protocols.shadowsocks.settings import ShadowsocksServer

__all__ = [
    "BlockServer",
    "DirectServer",
    "HTTPServer",
    "Server",
    "ShadowsocksServer",
    "SocksServer",
    "TorServer",
    "format_server",
    "parse_server",
]


@dataclass(frozen=True, slots=True)
class DirectServer:
    """No server: flows go straight to their targets."""

    scheme: ClassVar[str] = "direct"
    label: ClassVar[str] = "direct://"


@dataclass(frozen=True, slots=True)
class BlockServer:
    """No server: flows are refused."""

    scheme: ClassVar[str] = "block"
    label: ClassVar[str] = "block://"


Server = ShadowsocksServer | SocksServer | HTTPServer | TorServer | DirectServer | BlockServer

_ACCEPTED = "ss://, socks5://, socks4://, socks4a://, http://, https://, tor://, direct://, block://"


def parse_server(url: str, *, listening: bool = False) -> Server:
    """The server that a link names; with `listening`, as the server's own side, whose host may be empty.

    Raises LocalError: one line that says what is wrong and what is accepted, without the password.
    """
    scheme, separator, rest = url.strip().partition("://")
    scheme = scheme.lower()
    if not separator or not re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme):
        raise LocalError(f"a server is a link that starts with one of {_ACCEPTED}")
    if scheme == "ss":
        return link_shadowsocks.parse(rest, listening)
    if scheme in {"socks5", "socks5h", "socks", "socks4", "socks4a"}:
        return link_proxies.parse_socks(scheme, rest)
    if scheme in {"http", "https"}:
        return link_proxies.parse_http(scheme, rest)
    if scheme == "tor":
        return link_proxies.parse_tor(rest)
    if scheme == "shadowvpn":
        raise LocalError(
            f"{scheme}:// carries packets and no flows: give it alone, to tunflow up, profile import or serve; "
            f"accepted here are {_ACCEPTED}"
        )
    if scheme not in {"direct", "block"}:
        raise LocalError(f"unknown server scheme {scheme}://; accepted are {_ACCEPTED}")
    if rest not in {"", "/"}:
        raise LocalError(f"{scheme}:// takes nothing after it")
    return DirectServer() if scheme == "direct" else BlockServer()


def format_server(server: Server) -> str:
    """The link of a server; `parse_server` makes an equal one of it. It holds the password."""
    if isinstance(server, ShadowsocksServer):
        return link_shadowsocks.format_link(server)
    if isinstance(server, DirectServer | BlockServer):
        return server.label
    return link_proxies.format_link(server)
