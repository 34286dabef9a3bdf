"""What a ShadowVPN tunnel needs to know, from a link or from the original's `key=value` file.

The link is tunflow's: `shadowvpn://PASSWORD@HOST:PORT?user_token=HEX&net=10.7.0.2/24&mtu=1432`, percent-encoded; a
server's has all its users' tokens, separated by commas. The file is clowwindy's (samples/client.conf).
An error names the key and never shows the password.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Interface
from typing import Any, ClassVar
from urllib.parse import parse_qsl, quote, unquote

from tunflow.errors import LocalError
from tunflow.protocols.clash_entry import ClashEntry
from tunflow.protocols.contract import Outbound, OutboundContext
from tunflow.protocols.link import Link, put_parameter
from tunflow.protocols.shadowvpn.seal import MAX_MTU, MIN_MTU, TOKEN_SIZE
from tunflow.single_values import TwoValues, put

SCHEME = "shadowvpn"
SHAPE = "shadowvpn://PASSWORD@HOST:PORT?user_token=HEX&net=10.7.0.2/24&mtu=1432, percent-encoded"

DEFAULT_MTU = 1432
"""Bytes of the largest inner packet: 1492 (PPPoE) - 20 (IPv4) - 8 (UDP) - 32 (overhead and token)."""

DEFAULT_CLIENT_NET = "10.7.0.2/24"
DEFAULT_SERVER_NET = "10.7.0.1/24"

_KNOWN = {"server", "port", "password", "user_token", "net", "mtu", "mode", "intf", "up", "down", "pidfile", "logfile",
          "concurrency", "dns"}  # fmt: skip
"""Keys of the original's file. Scripts, pid and log files are not ours to run or write; they are read over."""


@dataclass(frozen=True, slots=True)
class ShadowVPNConfig:
    """One end of a tunnel; `net` is this end's own address in it. Raises LocalError."""

    server: str
    port: int
    password: str = field(repr=False)
    net: IPv4Interface
    mtu: int = DEFAULT_MTU
    user_tokens: tuple[bytes, ...] = field(default=(), repr=False)
    """A client's own, or all of a server's; none where the server has one client only."""

    def __post_init__(self) -> None:
        if not self.password:
            raise LocalError(f"shadowvpn: the password is missing; the link reads {SHAPE}")
        if not 1 <= self.port <= 65535:
            raise LocalError(f"shadowvpn: port {self.port} is not a number from 1 to 65535")
        if not MIN_MTU <= self.mtu <= MAX_MTU:
            raise LocalError(f"shadowvpn: mtu {self.mtu} is not a number from {MIN_MTU} to {MAX_MTU}")
        if any(len(token) != TOKEN_SIZE for token in self.user_tokens):
            raise LocalError(f"shadowvpn: a user_token is {TOKEN_SIZE} bytes, {2 * TOKEN_SIZE} hexadecimal digits")
        if len(set(self.user_tokens)) != len(self.user_tokens):
            raise LocalError("shadowvpn: two users have the same user_token")
        if self.net.network.num_addresses - 3 < len(self.user_tokens):
            raise LocalError(f"shadowvpn: net {self.net} has no room for {len(self.user_tokens)} users")

    wants_programs: ClassVar[bool] = False
    tag: ClassVar[str | None] = None

    @property
    def first_hop(self) -> tuple[str, int]:
        """As `Settings.first_hop`."""
        return self.server, self.port

    @classmethod
    def from_link(cls, link: Link) -> ShadowVPNConfig:
        """As `Settings.from_link`."""
        return parse_link(f"{link.scheme}://{link.rest}", serving=link.listening)

    @classmethod
    def from_file(cls, content: bytes, name: str, _read: Callable[[str], bytes]) -> ShadowVPNConfig:
        """As `FromFile.from_file`: the original program's."""
        return parse_file(content.decode(errors="replace").splitlines(), name)

    @classmethod
    def from_clash(cls, _entry: ClashEntry) -> ShadowVPNConfig:
        """Raises LocalError: Clash has no such type."""
        raise LocalError("a Clash file has no ShadowVPN")

    def to_link(self) -> str:
        """As `Settings.to_link`."""
        return format_link(self)

    @property
    def provider(self) -> str:
        """As `PacketTunnel.provider`."""
        return SCHEME

    @property
    def provider_configuration(self) -> dict[str, object]:
        """As `PacketTunnel.provider_configuration`."""
        return {"link": self.to_link()}

    def outbound(self, context: OutboundContext) -> Outbound:
        """As `Settings.outbound`: by a stack at the tunnel's near end. Raises LocalError where nobody runs one."""
        return context.tunnel(self)

    @property
    def label(self) -> str:
        """The tunnel as logs name it."""
        host = f"[{self.server}]" if ":" in self.server else self.server
        return f"{SCHEME}://{host}:{self.port}"


def parse_link(link: str, *, serving: bool = False) -> ShadowVPNConfig:
    """The tunnel that a link names; with `serving` the server's end of it. Raises LocalError."""
    scheme, separator, rest = link.strip().partition("://")
    if scheme.lower() != SCHEME or not separator:
        raise LocalError(f"not a shadowvpn:// link; it reads {SHAPE}")
    rest = rest.partition("#")[0]
    where, _, query = rest.partition("?")
    user, at, place = where.removesuffix("/").rpartition("@")
    if not at:
        raise LocalError(f"shadowvpn: the password is missing; the link reads {SHAPE}")
    host, port = _host_and_port(place)
    values = {"server": host, "port": port, "password": unquote(user)}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in {"user_token", "net", "mtu"}:
            raise LocalError(f"shadowvpn: unknown key {key[:40]!r} in the link; accepted are user_token, net and mtu")
        put_parameter(SCHEME, values, key, value)
    return _config(values, serving, "shadowvpn")


def format_link(config: ShadowVPNConfig) -> str:
    """The link; `parse_link` makes an equal value of it. It holds the password."""
    host = f"[{config.server}]" if ":" in config.server else config.server
    tokens = ",".join(token.hex() for token in config.user_tokens)
    query = f"net={config.net}&mtu={config.mtu}" + (f"&user_token={tokens}" if tokens else "")
    return f"{SCHEME}://{quote(config.password, safe='')}@{host}:{config.port}?{query}"


def parse_file(lines: Iterable[str], name: str) -> ShadowVPNConfig:
    """The tunnel of a client's `key=value` file called `name`. Raises LocalError."""
    values: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        key, separator, value = text.partition("=")
        if not separator:
            raise LocalError(f"{name}:{number}: {text[:40]!r} is not key=value")
        if key not in _KNOWN:
            raise LocalError(f"{name}:{number}: unknown key {key[:40]!r}; accepted are {', '.join(sorted(_KNOWN))}")
        try:
            put(values, key, value)
        except TwoValues as error:
            raise LocalError(f"{name}:{number}: {error}") from None
    for key in ("mode", "server", "port", "password"):
        if not values.get(key):
            raise LocalError(f"{name}: {key} is missing")
    if values["mode"] != "client":
        raise LocalError(
            f"{name}: mode is {values['mode'][:20]!r}; accepted is client. "
            f"A server is `tunflow serve` with a link: {SHAPE}"
        )
    if values.get("concurrency", "1") != "1":
        raise LocalError(f"{name}: concurrency is {values['concurrency'][:10]!r}; only 1 is accepted")
    return _config(values, False, name)


def config_of(values: Mapping[str, Any], name: str) -> ShadowVPNConfig:
    """A client's tunnel from a table of settings that an error calls `name`. Raises LocalError."""
    for key in ("server", "port", "password"):
        if not values.get(key):
            raise LocalError(f"{name}: {key} is missing; a link would read {SHAPE}")
    return _config({key: str(value) for key, value in values.items()}, False, name)


def _config(values: dict[str, str], serving: bool, name: str) -> ShadowVPNConfig:
    tokens = [token for token in values.get("user_token", "").split(",") if token]
    if len(tokens) > 1 and not serving:
        raise LocalError(f"{name}: a client has one user_token, not {len(tokens)}")
    if any(not re.fullmatch(r"[0-9a-fA-F]{16}", token) for token in tokens):
        raise LocalError(f"{name}: a user_token is {TOKEN_SIZE} bytes, {2 * TOKEN_SIZE} hexadecimal digits")
    net = values.get("net") or (DEFAULT_SERVER_NET if serving else DEFAULT_CLIENT_NET)
    try:
        interface = IPv4Interface(net)
    except ValueError:
        raise LocalError(f"{name}: net {net[:40]!r} is not an address with its network, like 10.7.0.2/24") from None
    return ShadowVPNConfig(
        values["server"],
        _number(name, "port", values["port"]),
        values["password"],
        interface,
        _number(name, "mtu", values.get("mtu") or str(DEFAULT_MTU)),
        tuple(bytes.fromhex(token) for token in tokens),
    )


def _number(name: str, key: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text):
        raise LocalError(f"{name}: {key} {text[:20]!r} is not a number")
    return int(text)


def _host_and_port(place: str) -> tuple[str, str]:
    if place.startswith("["):
        host, bracket, port = place[1:].partition("]")
        port = port.removeprefix(":") if bracket else ""
    else:
        host, _, port = place.rpartition(":")
    if not host or not port:
        raise LocalError(f"shadowvpn: host or port is missing; the link reads {SHAPE}")
    return unquote(host), port


SETTINGS = ShadowVPNConfig
