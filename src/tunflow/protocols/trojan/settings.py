"""`trojan://` links and Clash entries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar
from urllib.parse import parse_qsl, quote, urlencode

from tunflow.endpoint import Endpoint, endpoint
from tunflow.errors import LocalError
from tunflow.flow import FlowInfo
from tunflow.protocols.clash_entry import ClashEntry
from tunflow.protocols.codec import StreamCodec, StreamDatagramCodec
from tunflow.protocols.contract import Outbound, OutboundContext
from tunflow.protocols.link import (
    Link,
    cut,
    format_options,
    format_tag,
    format_where,
    label,
    parse_where,
    printable,
    put_parameter,
    unquoted,
    yes_or_no,
)
from tunflow.protocols.mux import settings as mux_settings
from tunflow.protocols.mux.multiplexed import multiplexed
from tunflow.protocols.mux.settings import Mux
from tunflow.protocols.server_outbound import Frames, ServerOutbound
from tunflow.protocols.transport import settings as transports
from tunflow.protocols.transport.layers import laid
from tunflow.protocols.transport.transport import Transport
from tunflow.protocols.trojan.stream import ASSOCIATE, TrojanFrames, client

_SHAPE = "trojan://PASSWORD@HOST:PORT"
_SECURITY = "tls"
_OWN = ("udp", "encryption", *mux_settings.LINK_KEYS)
_OBFS = {"obfs", "obfs-host", "obfs-uri"}


@dataclass(frozen=True, slots=True)
class TrojanServer:
    """A Trojan server."""

    wants_programs: ClassVar[bool] = False

    host: str
    port: int
    password: str = field(repr=False)
    transport: Transport
    tag: str | None = None
    udp: bool = True
    """True if UDP goes there; else it is refused here."""
    mux: Mux | None = None
    """How flows share connections; None for a connection for each."""

    @property
    def label(self) -> str:
        """The server as logs name it."""
        return label("trojan", self.host, self.port, self.tag)

    @property
    def first_hop(self) -> tuple[str, int]:
        """As `Settings.first_hop`."""
        return self.host, self.port

    @classmethod
    def from_link(cls, link: Link) -> TrojanServer:
        """As `Settings.from_link`."""
        parts = cut(link.rest)
        if not parts.user:
            raise LocalError(f"the trojan:// link has no password; it reads {_SHAPE}")
        password = unquoted("trojan", parts.user)
        host, port = parse_where("trojan", parts.where, _SHAPE, port=443, listening=link.listening)
        transport, own = transports.from_query("trojan", _in_usual_words(parts.query), _OWN, _SECURITY)
        if own.get("encryption", "none") != "none":
            raise LocalError("encryption of a trojan:// link is not supported: it is Shadowsocks below Trojan")
        udp = yes_or_no("trojan", "udp", own.get("udp"), default=True)
        mux = mux_settings.from_query("trojan", own, listening=link.listening)
        return cls(host, port, password, transport, parts.tag, udp, mux)

    @classmethod
    def from_clash(cls, entry: ClashEntry) -> TrojanServer:
        """As `Settings.from_clash`."""
        (password,) = entry.required("password")
        host, port = entry.where()
        transport = transports.from_clash(entry, tls=True, name_key="sni")
        udp = entry.flag("udp", default=True)
        return cls(host, port, password, transport, entry.name, udp, mux_settings.from_clash(entry))

    def to_link(self) -> str:
        """As `Settings.to_link`."""
        options = transports.to_query(self.transport, _SECURITY)
        if not self.udp:
            options["udp"] = "no"
        options |= mux_settings.to_query(self.mux)
        where = format_where(self.host, self.port)
        return f"trojan://{quote(self.password, safe='')}@{where}{format_options(options)}{format_tag(self.tag)}"

    def outbound(self, context: OutboundContext) -> Outbound:
        """As `Settings.outbound`."""
        context, layers = laid(self.transport, self.first_hop, context)

        def stream(target: Endpoint, _flow: FlowInfo | None) -> StreamCodec:
            return layers.under(client(target, self.password))

        def begin(target: Endpoint) -> tuple[StreamCodec, StreamDatagramCodec]:
            return layers.under(client(target, self.password, ASSOCIATE)), TrojanFrames()

        frames = Frames(begin) if self.udp else None
        made = ServerOutbound(self.label, endpoint(self.host, self.port), context, stream, frames=frames)
        return multiplexed(made, self.mux, context, udp=self.udp)


SETTINGS = TrojanServer


def _in_usual_words(query: str) -> str:
    """A link's parameters, with those of WebSocket as Shadowrocket and older converters have them in everybody's.

    Raises LocalError.
    """
    values = parse_qsl(query, keep_blank_values=True, separator="&")
    given: dict[str, str] = {}
    for key, value in values:
        if key in {"ws", "wspath", "plugin"}:
            put_parameter("trojan", given, key, value)
    more: dict[str, str] = {}
    if "ws" in given and yes_or_no("trojan", "ws", given["ws"] or "0", default=False):
        more = {"type": "ws", "path": given.get("wspath", "/")}
    if plugin := given.get("plugin"):
        name, _, options = plugin.partition(";")
        told: dict[str, str] = {}
        for key, _, value in (pair.partition("=") for pair in options.split(";") if pair):
            put_parameter("trojan", told, key, value)
        if name not in {"obfs-local", "none"} or told.get("obfs", "websocket") != "websocket" or set(told) - _OBFS:
            raise LocalError(
                f"plugin={printable(plugin)} of a trojan:// link is not supported; obfs-local;obfs=websocket is"
            )
        if name != "none":
            more = {"type": "ws", "path": told.get("obfs-uri", "/"), "host": told.get("obfs-host", "")}
    return urlencode([each for each in values if each[0] not in {"ws", "wspath", "plugin"}] + list(more.items()))
