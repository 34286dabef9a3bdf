"""A resolver to ask, as people write it: `tls://dns.google@8.8.8.8`.

    [udp|tcp|tls|https|quic]://[NAME@]ADDRESS[:PORT][/PATH][#MORE]

ADDRESS is an IP address (IPv6 in brackets) or a name. Where both stand, the address is where to connect to and the name
whose certificate it must show: so no name has to be looked up before names can be. `#MORE` is, as its users know it, a
port (`#5353`, chinadns-ng), the name for TLS (`#dns.google`, systemd-resolved) or the server to go through (`#HOME`,
`#direct`, mihomo): digits, something with a dot, or anything else. An address alone is asked over UDP, and over TCP for
what does not fit there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from tunflow.addresses import ip_address
from tunflow.endpoint import Endpoint
from tunflow.errors import LocalError
from tunflow.numbers import NotANumber, whole_number

Transport = Literal["udp", "tcp", "tls", "https", "quic", "tor"]
PORTS: dict[str, int] = {"udp": 53, "tcp": 53, "tls": 853, "https": 443, "quic": 853}
"""RFC 1035 §4.2, RFC 7858 §3.1, RFC 8484 §4.1 (that of HTTPS), RFC 9250 §4.1.1."""
DEFAULT_PATH = "/dns-query"
"""RFC 8484 §4.1.1 uses it in its examples, and so does everybody."""
DIRECT = "direct"
TUNNEL = "tunnel"
_SHAPE = "udp://, tcp://, tls://, https:// or quic:// with [NAME@]ADDRESS[:PORT][/PATH][#SERVER], or an address alone"


@dataclass(frozen=True, slots=True)
class Upstream:
    """One resolver."""

    transport: Transport
    target: Endpoint
    """Where to connect to; its host may be a name."""
    name: str
    """What its certificate must say, and HTTP's host."""
    path: str = DEFAULT_PATH
    via: str | None = None
    """The server to go through: a server's or group's name, `direct`, `tunnel`, or None for what its group does."""

    @property
    def label(self) -> str:
        """What the log calls it."""
        path = self.path if self.transport == "https" else ""
        port = "" if self.target.port == PORTS[self.transport] else f":{self.target.port}"
        host = self.target.host_text
        host = f"[{host}]" if ":" in host else host
        name = "" if self.name == self.target.host_text else f"{self.name}@"
        return f"{self.transport}://{name}{host}{port}{path}"


TOR = Upstream("tor", Endpoint("tor", 0), "tor")
"""Tor itself, at the end of the servers: it has no link of its own."""


def parse_upstream(text: str, default: Transport = "udp") -> Upstream:
    """The resolver that `text` names. Raises LocalError."""
    scheme, separator, rest = text.strip().partition("://")
    if not separator:
        scheme, rest = default, scheme
    scheme = scheme.lower()
    if scheme not in PORTS:
        raise LocalError(f"resolver {text!r}: {scheme}:// is not known; it reads {_SHAPE}")
    if scheme == "quic" and find_spec("aioquic") is None:
        raise LocalError(f"resolver {text!r}: quic:// takes aioquic: pip install 'tunflow[quic]'")
    transport: Transport = scheme  # type: ignore[assignment]
    rest, _, more = rest.partition("#")
    rest, slash, path = rest.partition("/")
    if path and transport != "https":
        raise LocalError(f"resolver {text!r}: {scheme}:// takes no path; it reads {_SHAPE}")
    name, _, where = rest.rpartition("@")
    host, port = _where(where, text)
    via: str | None = None
    if more.isascii() and more.isdigit():
        if port is not None:
            raise LocalError(f"resolver {text!r}: a port is given twice")
        port = _port(more, text)
    elif "." in more:
        name = name or more
    elif more:
        via = more.lower() if more.lower() in {DIRECT, TUNNEL} else more
    if port is None:
        port = PORTS[transport]
    if not 0 < port < 65536:
        raise LocalError(f"resolver {text!r}: a port is a number from 1 to 65535")
    try:
        target = Endpoint(ip_address(host).packed, port)
    except ValueError:
        target = Endpoint(_host_name(host, text), port)
    certified = _host_name(name, text) if name else target.host_text
    return Upstream(transport, target, certified, f"/{path}" if slash and path else DEFAULT_PATH, via)


def _where(where: str, text: str) -> tuple[str, int | None]:
    """Host without brackets, and the port if one is given."""
    if where.startswith("["):
        host, bracket, port = where[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise LocalError(f"resolver {text!r}: behind an IPv6 address in brackets stands nothing or :PORT")
        port = port[1:]
    elif where.count(":") > 1:
        host, port = where, ""
    else:
        host, colon, port = where.partition(":")
        if colon and not port:
            raise LocalError(f"resolver {text!r}: the port is missing")
    if not port:
        return host, None
    return host, _port(port, text)


def _port(port: str, text: str) -> int:
    try:
        return whole_number(port, 65535)
    except NotANumber:
        raise LocalError(f"resolver {text!r}: a port is a number from 1 to 65535") from None


def _host_name(host: str, text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9_.])?", host) or ".." in host:
        raise LocalError(f"resolver {text!r}: {host!r} is no address and no host name; it reads {_SHAPE}")
    return host.rstrip(".").lower()
