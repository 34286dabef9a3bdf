"""Links that name a server: `ss://…`, `direct://`, `block://`.

Read first: SIP002 (shadowsocks-org, docs/doc/sip002.md). All forms that are about are taken: the userinfo as
base64 (either alphabet, padded or not) or percent-encoded, and the older link that is base64 as a whole.

A link holds a password, so no error and no label shows more of one than its scheme, method, host, port,
plugin name and tag.
"""

from __future__ import annotations

import re
from base64 import b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import ClassVar
from urllib.parse import parse_qsl, quote, unquote

from tunflow.errors import LocalError
from tunflow.proxies.shadowsocks.methods import METHODS, canonical_name, why_refused


@dataclass(frozen=True, slots=True)
class ShadowsocksServer:
    """A Shadowsocks server: an address or name (IPv6 without brackets), a port, a method and a password.

    An empty `host` means every local address; only a server's own link has that. `tag` is what the user calls
    it.
    """

    scheme: ClassVar[str] = "ss"

    host: str
    port: int
    method: str
    password: str = field(repr=False)
    tag: str | None = None

    @property
    def label(self) -> str:
        """The server as logs name it; without the password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        tag = f"#{self.tag}" if self.tag else ""
        return _printable(f"ss://{self.method}@{host}:{self.port}{tag}")


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


Server = ShadowsocksServer | DirectServer | BlockServer

_ACCEPTED = "ss://, direct://, block://"
_PLANNED = frozenset({"socks5", "socks4", "socks4a", "http", "tor", "shadowvpn"})
_SHAPE = "ss://METHOD:PASSWORD@HOST:PORT#TAG, METHOD:PASSWORD in base64 or percent-encoded"


def parse_server(url: str, *, listening: bool = False) -> Server:
    """The server that a link names; with `listening`, as the server's own side, whose host may be empty.

    Raises LocalError: one line that says what is wrong and what is accepted, without the password.
    """
    scheme, separator, rest = url.strip().partition("://")
    scheme = scheme.lower()
    if not separator or not re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme):
        raise LocalError(f"a server is a link that starts with one of {_ACCEPTED}")
    if scheme == "ss":
        return _parse_shadowsocks(rest, listening)
    if scheme in _PLANNED:
        raise LocalError(f"{scheme}:// is not supported yet; accepted are {_ACCEPTED}")
    if scheme not in {"direct", "block"}:
        raise LocalError(f"unknown server scheme {scheme}://; accepted are {_ACCEPTED}")
    if rest not in {"", "/"}:
        raise LocalError(f"{scheme}:// takes nothing after it")
    return DirectServer() if scheme == "direct" else BlockServer()


def format_server(server: Server) -> str:
    """The link of a server; `parse_server` makes an equal one of it. It holds the password."""
    if not isinstance(server, ShadowsocksServer):
        return server.label
    user = urlsafe_b64encode(f"{server.method}:{server.password}".encode()).decode().rstrip("=")
    host = server.host.replace("%", "%25")
    host = f"[{host}]" if ":" in host else host
    tag = f"#{quote(server.tag, safe='')}" if server.tag is not None else ""
    return f"ss://{user}@{host}:{server.port}{tag}"


def _parse_shadowsocks(rest: str, listening: bool) -> ShadowsocksServer:
    rest, hash_sign, tag = rest.partition("#")
    first_at = rest.find("@")
    if first_at < 0:
        method, password, where = _parse_legacy(rest)
    else:
        where, _, query = rest[first_at:].partition("?")
        _refuse_plugin(query)
        user, _, where = (rest[:first_at] + where).rpartition("@")  # a password may hold a bare '@'
        method, password = _parse_user(user)
        where = where.removesuffix("/")
    if not method:
        raise LocalError(f"the ss:// link names no method; accepted are {_methods()}")
    if not password:
        raise LocalError(f"the ss:// link has no password; it reads {_SHAPE}")
    name = _accepted_method(method, password)
    host, port = _parse_where(where, listening)
    return ShadowsocksServer(host, port, name, password, unquote(tag) if hash_sign else None)


def _parse_user(user: str) -> tuple[str, str]:
    """Method and password from the part in front of '@'."""
    method, colon, password = user.partition(":")
    if colon:
        return _unquoted(method), _unquoted(password)
    user = _unquoted(user)
    text = user if ":" in user else _from_base64(user)
    if text is None or ":" not in text:
        raise LocalError(f"the ss:// link's part before '@' is not METHOD:PASSWORD; it reads {_SHAPE}")
    method, _, password = text.partition(":")
    return method, password


def _parse_legacy(rest: str) -> tuple[str, str, str]:
    """Method, password and HOST:PORT from a link without '@' outside its base64."""
    body, _, query = rest.partition("?")
    _refuse_plugin(query)
    body = _unquoted(body)
    text = _from_base64(body)
    if text is None:
        text = _from_base64(body.removesuffix("/"))  # '/' is also a letter of base64
    if text is None or ":" not in text or "@" not in text:
        raise LocalError(f"the ss:// link names no server; it reads {_SHAPE} ('#', '@', '/' percent-encoded)")
    method, _, text = text.partition(":")
    password, _, where = text.rpartition("@")
    return method, password, where


def _from_base64(text: str) -> str | None:
    """UTF-8 text from base64 in either alphabet, padded or not; None if it is not that."""
    digits = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return b64decode(digits + "=" * (-len(digits) % 4), validate=True).decode()
    except (Base64Error, ValueError):
        return None


def _unquoted(text: str) -> str:
    """Text without its percent-encoding. Raises LocalError where that is not UTF-8."""
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise LocalError("the ss:// link has percent-encoded bytes that are not UTF-8") from None


def _parse_where(where: str, listening: bool) -> tuple[str, int]:
    """Host (without brackets) and port from `HOST:PORT`."""
    if where.startswith("["):
        literal, bracket, port = where[1:].partition("]")
        host = _unquoted(literal)
        if not bracket or not _is_ipv6(host):
            raise LocalError("the ss:// link's host in brackets is not an IPv6 address")
        if port and not port.startswith(":"):
            raise LocalError("the ss:// link's IPv6 host must be followed by ':' and a port")
        port = port[1:]
    else:
        host, _, port = where.rpartition(":") if ":" in where else (where, "", "")
        host = _unquoted(host)
        if ":" in host:
            raise LocalError("an IPv6 host in an ss:// link stands in brackets, as in [::1]:8388")
        if not re.fullmatch(r"[^\s/?#@\[\]\x00-\x20\x7f]{0,255}", host):
            raise LocalError("the ss:// link's host has characters that no host name has, or too many")
    if not host and not listening:
        raise LocalError(f"the ss:// link names no host; it reads {_SHAPE}")
    if not port:
        raise LocalError(f"the ss:// link names no port; it reads {_SHAPE}")
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise LocalError("the ss:// link's port is not a number from 1 to 65535")
    return host, int(port)


def _accepted_method(method: str, password: str) -> str:
    """The canonical name of an accepted method. Raises LocalError."""
    name = canonical_name(method)
    if name in METHODS:
        return name
    if reason := why_refused(name):
        raise LocalError(f"the method {_printable(name)} {reason}; accepted are {_methods()}")
    if canonical_name(password) in METHODS:
        raise LocalError(f"the ss:// link has its method and password swapped; it reads {_SHAPE}")
    raise LocalError(f"unknown method {_printable(name)!r}; accepted are {_methods()}")


def _refuse_plugin(query: str) -> None:
    for key, value in parse_qsl(query):
        if key == "plugin":
            name = _printable(re.split(r"[;\\]", value)[0])
            raise LocalError(f"the plugin {name!r} is not supported yet; use a server without plugin")


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def _methods() -> str:
    return ", ".join(METHODS)


def _printable(text: str) -> str:
    """At most 120 characters fit for one line of a terminal."""
    shown = "".join(character if character.isprintable() else "?" for character in text)
    return shown if len(shown) <= 120 else shown[:119] + "…"
