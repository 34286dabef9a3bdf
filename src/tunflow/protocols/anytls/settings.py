"""`anytls://` links and Clash entries.

Read first: AnyTLS's URI scheme (anytls-go, docs/uri_scheme.md); mihomo's page on "AnyTLS".
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar
from urllib.parse import quote

from tunflow.endpoint import Endpoint, endpoint
from tunflow.errors import LocalError
from tunflow.flow import FlowInfo
from tunflow.protocols.clash_entry import ClashEntry
from tunflow.protocols.codec import StreamCodec, StreamDatagramCodec
from tunflow.protocols.contract import Outbound, OutboundContext, StreamRoute
from tunflow.protocols.link import (
    Link,
    cut,
    format_options,
    format_tag,
    format_where,
    label,
    parse_where,
    unquoted,
    yes_or_no,
)
from tunflow.protocols.server_outbound import Frames, ServerOutbound
from tunflow.protocols.transport import settings as transports
from tunflow.protocols.transport.layers import layers
from tunflow.protocols.transport.transport import Transport

_SHAPE = "anytls://PASSWORD@HOST:PORT"
_SECURITY = "tls"


@dataclass(frozen=True, slots=True)
class AnyTLSServer:
    """An AnyTLS server."""

    wants_programs: ClassVar[bool] = False

    host: str
    port: int
    password: str = field(repr=False)
    transport: Transport
    """TLS, and nothing between it and the sessions."""
    tag: str | None = None
    udp: bool = True
    """True if UDP goes there; else it is refused here."""

    @property
    def label(self) -> str:
        """The server as logs name it."""
        return label("anytls", self.host, self.port, self.tag)

    @property
    def first_hop(self) -> tuple[str, int]:
        """As `Settings.first_hop`."""
        return self.host, self.port

    @classmethod
    def from_link(cls, link: Link) -> AnyTLSServer:
        """As `Settings.from_link`."""
        parts = cut(link.rest)
        if not parts.user:
            raise LocalError(f"the anytls:// link has no password; it reads {_SHAPE}")
        host, port = parse_where("anytls", parts.where, _SHAPE, port=443)
        transport, own = transports.from_query("anytls", parts.query, ("udp",), _SECURITY)
        udp = yes_or_no("anytls", "udp", own.get("udp"), default=True)
        return cls(host, port, unquoted("anytls", parts.user), _checked(transport), parts.tag, udp)

    @classmethod
    def from_clash(cls, entry: ClashEntry) -> AnyTLSServer:
        """As `Settings.from_clash`."""
        (password,) = entry.required("password")
        host, port = entry.where()
        for harmless in ("idle-session-check-interval", "idle-session-timeout", "min-idle-session"):
            entry.value(harmless)  # how many sessions wait, and for how long: ours in our way
        transport = _checked(transports.from_clash(entry, tls=True, name_key="sni"))
        return cls(host, port, password, transport, entry.name, entry.flag("udp", default=True))

    def to_link(self) -> str:
        """As `Settings.to_link`."""
        options = transports.to_query(self.transport, _SECURITY)
        if not self.udp:
            options["udp"] = "no"
        where = format_where(self.host, self.port)
        return f"anytls://{quote(self.password, safe='')}@{where}{format_options(options)}{format_tag(self.tag)}"

    def outbound(self, context: OutboundContext) -> Outbound:
        """As `Settings.outbound`."""
        from tunflow.protocols.anytls.session import AnyTLSSession, LatestScheme, TargetFirst  # noqa: PLC0415 (with use)
        from tunflow.protocols.session_pool import MultiplexedOutbound, SessionPool  # noqa: PLC0415
        from tunflow.protocols.udp_over_tcp import MAGIC_NAMES, UDPOverTCP  # noqa: PLC0415

        below, where = context.below, endpoint(self.host, self.port)
        tls, padding = layers(self.transport, self.first_hop, context), LatestScheme()

        def route() -> StreamRoute:
            way, codec = below.stream(where), tls.bare()
            return way if codec is None else way.over(codec, below.label)

        def make() -> AnyTLSSession:
            return AnyTLSSession(self.password, padding, context.random_bytes)

        def stream(target: Endpoint, _flow: FlowInfo | None) -> StreamCodec:
            return TargetFirst(target)

        def begin(target: Endpoint) -> tuple[StreamCodec, StreamDatagramCodec]:
            return TargetFirst(Endpoint(MAGIC_NAMES[2], 0)), UDPOverTCP(2, target)

        sessions = MultiplexedOutbound(below, SessionPool(route, make))
        frames = Frames(begin) if self.udp else None
        return ServerOutbound(self.label, where, replace(context, below=sessions), stream, frames=frames)


SETTINGS = AnyTLSServer


def _checked(transport: Transport) -> Transport:
    """Raises LocalError for what AnyTLS does not stand on."""
    if transport.network != "tcp" or not transport.tls:
        raise LocalError("anytls stands on TLS alone: type is tcp and security tls")
    return transport
