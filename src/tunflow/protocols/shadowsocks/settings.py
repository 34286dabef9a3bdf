"""`ss://` links.

Read first: SIP002 (shadowsocks-org, docs/doc/sip002.md). All forms that are about are taken: the userinfo as
base64 (either alphabet, padded or not) or percent-encoded, and the older link that is base64 as a whole.
"""

from __future__ import annotations

from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar
from urllib.parse import quote

from tunflow.errors import LocalError
from tunflow.protocols.clash_entry import ClashEntry
from tunflow.protocols.contract import Outbound, OutboundContext
from tunflow.protocols.link import (
    Link,
    cut,
    format_options,
    format_tag,
    format_where,
    label,
    parameters,
    parse_where,
    printable,
    unquoted,
    yes_or_no,
)
from tunflow.protocols.mux import settings as mux_settings
from tunflow.protocols.mux.multiplexed import multiplexed
from tunflow.protocols.mux.settings import Mux
from tunflow.protocols.session import PluginProgram
from tunflow.protocols.shadowsocks.keys2022 import parse_keys
from tunflow.protocols.shadowsocks.methods import METHODS, canonical_name, why_refused
from tunflow.protocols.shadowsocks.outbound import outbound
from tunflow.protocols.shadowsocks.plugin import check, check_foreign, from_clash, from_rocket, program_of

_UDP_OVER_TCP = ("1", "2")
_KEYS = ("udp", "udp-over-tcp", "udp-over-tcp-version", "uot", "plugin", "v2ray-plugin", *mux_settings.LINK_KEYS)
_PLAIN = {"type": {"tcp", "raw"}, "security": {"none"}, "headerType": {"none"}, "encryption": {"none"}}
"""What panels write behind servers of Xray's that stand on nothing."""
_OTHER_SERVERS = (
    "shadow-tls",
    "prefix",
    "obfs",
    "sni",
    "host",
    "path",
    "fp",
    "alpn",
    "serviceName",
    "pbk",
    "sid",
    "allowInsecure",
)
"""What says that it stands on something."""
_SHAPE = "ss://METHOD:PASSWORD@HOST:PORT#TAG, METHOD:PASSWORD in base64 or percent-encoded"


@dataclass(frozen=True, slots=True)
class ShadowsocksServer:
    """A Shadowsocks server: an address or name (IPv6 without brackets), a port, a method and a password.

    An empty `host` means every local address; only a server's own link has that. `tag` is what the user calls
    it. The password of a 2022 method is its key, or several with ':' between them, in base64.
    """

    wants_programs: ClassVar[bool] = False

    host: str
    port: int
    method: str
    password: str = field(repr=False)
    tag: str | None = None
    udp: bool = True
    """True if UDP goes there; else it is refused here."""
    udp_over_tcp: int = 0
    """The version of UDP over TCP, 1 or 2; 0 for Shadowsocks' own datagrams."""
    plugin: str = ""
    """A plugin and its options as SIP003 has them; "" for none. UDP then goes in it or nowhere."""
    mux: Mux | None = None
    """How flows share connections; None for a connection for each."""

    @property
    def label(self) -> str:
        """The server as logs name it; without the password."""
        return label("ss", self.host, self.port, self.tag, self.method)

    @property
    def program(self) -> PluginProgram | None:
        """As `StandsOnProgram.program`."""
        return program_of(self.plugin) if self.plugin else None

    @property
    def takes_datagrams_only(self) -> bool:
        """As `ListensByUDP.takes_datagrams_only`: plugins that go by QUIC say so as `mode`."""
        return self.program is not None and "mode=quic" in self.plugin.split(";")

    @property
    def first_hop(self) -> tuple[str, int]:
        """As `Settings.first_hop`."""
        return self.host, self.port

    @classmethod
    def from_link(cls, link: Link) -> ShadowsocksServer:
        """As `Settings.from_link`."""
        server = _parse(link.rest, link.listening)
        if server.plugin and link.listening:
            raise LocalError(
                "serve speaks with no plugin: start it yourself, before a server on loopback "
                f"(SS_REMOTE_HOST=127.0.0.1 …), and leave plugin= out of {server.label}"
            )
        if server.plugin and link.is_foreign:
            check_foreign(server.plugin)
        return server

    @classmethod
    def from_clash(cls, entry: ClashEntry) -> ShadowsocksServer:
        """As `Settings.from_clash`."""
        method, password = entry.required("cipher", "password")
        host, port = entry.where()
        own = {
            "udp": "yes" if entry.flag("udp", default=True) else "no",
            "udp-over-tcp": "yes" if entry.flag("udp-over-tcp") else "no",
            "udp-over-tcp-version": entry.text("udp-over-tcp-version") or "1",
            "plugin": from_clash(entry),
            **mux_settings.to_query(mux_settings.from_clash(entry)),
        }
        return _checked(host, port, _accepted_method(method, password), password, entry.name, own)

    def to_link(self) -> str:
        """As `Settings.to_link`. SIP002: the userinfo of 2022 methods must not be base64."""
        if METHODS[self.method].is_2022:
            user = f"{self.method}:{quote(self.password, safe='')}"
        else:
            user = urlsafe_b64encode(f"{self.method}:{self.password}".encode()).decode().rstrip("=")
        options = {} if self.udp else {"udp": "no"}
        if self.udp_over_tcp:
            options |= {"udp-over-tcp": "yes", "udp-over-tcp-version": str(self.udp_over_tcp)}
        if self.plugin:
            options["plugin"] = self.plugin
        options |= mux_settings.to_query(self.mux)
        query = f"/{format_options(options)}" if options else ""
        return f"ss://{user}@{format_where(self.host, self.port)}{query}{format_tag(self.tag)}"

    def outbound(self, context: OutboundContext) -> Outbound:
        """As `Settings.outbound`."""
        return multiplexed(outbound(self, context), self.mux, context, udp=self.udp)


SETTINGS = ShadowsocksServer


def _parse(rest: str, listening: bool) -> ShadowsocksServer:
    """The server in a link behind `ss://`. Raises LocalError."""
    parts = cut(rest)
    options = _options(parts.query)
    if parts.user is None:
        method, password, where = _parse_legacy(rest)
    else:
        method, password = _parse_user(parts.user)
        where = parts.where
    if not method:
        raise LocalError(f"the ss:// link names no method; accepted are {_methods()}")
    if not password:
        raise LocalError(f"the ss:// link has no password; it reads {_SHAPE}")
    name = _accepted_method(method, password)
    host, port = parse_where("ss", where, _SHAPE, listening=listening)
    return _checked(host, port, name, password, parts.tag, options, listening=listening)


def _options(query: str) -> dict[str, str]:
    """The options of a link. Raises LocalError, also for what would be a server on another transport."""
    options = parameters("ss", query, _KEYS, (*_PLAIN, *_OTHER_SERVERS))
    for key in (*_PLAIN, *_OTHER_SERVERS):
        if key in options and options[key] not in _PLAIN.get(key, ()):
            shown = key if key in {"shadow-tls", "prefix"} else f"{key}={options[key]}"
            raise LocalError(
                f"{printable(shown)} of an ss:// link is not supported: Shadowsocks stands on TCP, or in a plugin "
                "(plugin=obfs-local;… or v2ray-plugin;…)"
            )
    if (given := options.pop("v2ray-plugin", None)) is not None:
        options["plugin"] = from_rocket(given)
    if options.get("plugin") == "none":
        del options["plugin"]
    return options


def _checked(
    host: str,
    port: int,
    method: str,
    password: str,
    tag: str | None,
    options: Mapping[str, str],
    *,
    listening: bool = False,
) -> ShadowsocksServer:
    """The server. Raises LocalError for a password that is no key of its method, and for options that are none."""
    if METHODS[method].is_2022:
        parse_keys(password, METHODS[method].key_size, many=METHODS[method].has_identities)
    udp = yes_or_no("ss", "udp", options.get("udp"), default=True)
    over_tcp = yes_or_no("ss", "udp-over-tcp", options.get("udp-over-tcp", options.get("uot")), default=False)
    version = options.get("udp-over-tcp-version", "1")
    if version not in _UDP_OVER_TCP:
        raise LocalError(
            f"udp-over-tcp-version {printable(version)} is not supported; {' and '.join(_UDP_OVER_TCP)} are"
        )
    plugin = options.get("plugin", "")
    if plugin:
        check(plugin)
    mux = mux_settings.from_query("ss", options, listening=listening)
    return ShadowsocksServer(host, port, method, password, tag, udp, int(version) if over_tcp else 0, plugin, mux)


def _parse_user(user: str) -> tuple[str, str]:
    """Method and password from the part in front of '@'."""
    method, colon, password = user.partition(":")
    if colon:
        return unquoted("ss", method), unquoted("ss", password)
    user = unquoted("ss", user)
    text = user if ":" in user else _from_base64(user)
    if text is None or ":" not in text:
        raise LocalError(f"the ss:// link's part before '@' is not METHOD:PASSWORD; it reads {_SHAPE}")
    method, _, password = text.partition(":")
    return method, password


def _parse_legacy(rest: str) -> tuple[str, str, str]:
    """Method, password and HOST:PORT from a link without '@' outside its base64."""
    body = unquoted("ss", rest.partition("#")[0].partition("?")[0])
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
    except ValueError:
        return None


def _accepted_method(method: str, password: str) -> str:
    """The canonical name of an accepted method. Raises LocalError."""
    name = canonical_name(method)
    if name in METHODS:
        return name
    if reason := why_refused(name):
        raise LocalError(f"the method {printable(name)} {reason}; accepted are {_methods()}")
    if canonical_name(password) in METHODS:
        raise LocalError(f"the ss:// link has its method and password swapped; it reads {_SHAPE}")
    raise LocalError(f"unknown method {printable(name)!r}; accepted are {_methods()}")


def _methods() -> str:
    return ", ".join(METHODS)
