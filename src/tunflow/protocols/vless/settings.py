"""`vless://` links and Clash entries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from tunflow.endpoint import Endpoint, endpoint
from tunflow.errors import LocalError
from tunflow.flow import FlowInfo
from tunflow.protocols.clash_entry import ClashEntry
from tunflow.protocols.codec import StreamCodec, StreamDatagramCodec
from tunflow.protocols.contract import Outbound, OutboundContext, StreamRoute, refuses_none
from tunflow.protocols.link import (
    Link,
    cut,
    format_options,
    format_tag,
    format_where,
    label,
    parse_where,
    printable,
    unquoted,
    yes_or_no,
)
from tunflow.protocols.mux import settings as mux_settings
from tunflow.protocols.mux.multiplexed import multiplexed
from tunflow.protocols.mux.settings import Mux
from tunflow.protocols.server_outbound import Frames, ServerOutbound
from tunflow.protocols.transport import settings as transports
from tunflow.protocols.transport.layers import laid, tls_layer
from tunflow.protocols.transport.rocket import parts_of_rocket
from tunflow.protocols.transport.transport import Transport
from tunflow.protocols.user_id import user_id
from tunflow.protocols.vless.stream import CONNECT, DATAGRAMS, VISION, VLESSClient, VLESSFrames
from tunflow.protocols.vless.vision import VisionClient
from tunflow.protocols.xudp import COMMAND, XUDPFrames, is_xudp, is_xudp_of_clash

_SHAPE = "vless://UUID@HOST:PORT?encryption=none&security=tls"
_SECURITY = "none"
FLOWS = ("xtls-rprx-vision", "xtls-rprx-vision-udp443")
"""Flow controls: both are the same on the wire, and the second lets datagrams to port 443 pass."""
_WITH_QUIC = "-udp443"
_QUIC_PORT = 443
_OWN = ("encryption", "flow", "udp", "packetEncoding", *mux_settings.LINK_KEYS)


@dataclass(frozen=True, slots=True)
class VLESSServer:
    """A VLESS server; `user` is the id in its usual form, and a secret."""

    wants_programs: ClassVar[bool] = False

    host: str
    port: int
    user: str = field(repr=False)
    transport: Transport
    tag: str | None = None
    udp: bool = True
    """True if UDP goes there; else it is refused here."""
    xudp: bool = False
    """True if a client socket's datagrams go in one stream, by XUDP; else in one for each target."""
    flow: str = ""
    """One of `FLOWS`, or nothing."""
    mux: Mux | None = None
    """How flows share connections; None for a connection for each."""

    @property
    def label(self) -> str:
        """The server as logs name it."""
        return label("vless", self.host, self.port, self.tag)

    @property
    def first_hop(self) -> tuple[str, int]:
        """As `Settings.first_hop`."""
        return self.host, self.port

    @classmethod
    def from_link(cls, link: Link) -> VLESSServer:
        """As `Settings.from_link`."""
        parts = cut(link.rest)
        if parts.user is None:
            parts = parts_of_rocket("vless", link.rest) or parts
        if not parts.user:
            raise LocalError(f"the vless:// link has no user id; it reads {_SHAPE}")
        host, port = parse_where("vless", parts.where, _SHAPE, listening=link.listening)
        transport, own = transports.from_query("vless", parts.query, _OWN, _SECURITY)
        _check_encryption(own.get("encryption"))
        flow = _checked_flow(own.get("flow"), transport)
        xudp = is_xudp(own.get("packetEncoding"))
        udp = yes_or_no("vless", "udp", own.get("udp"), default=True)
        mux = mux_settings.from_query("vless", own, listening=link.listening)
        user = str(user_id(unquoted("vless", parts.user)))
        return _checked(cls(host, port, user, transport, parts.tag, udp, xudp, flow, mux))

    @classmethod
    def from_clash(cls, entry: ClashEntry) -> VLESSServer:
        """As `Settings.from_clash`."""
        (user,) = entry.required("uuid")
        host, port = entry.where()
        _check_encryption(entry.text("encryption"))
        transport = transports.from_clash(entry, tls=entry.flag("tls"), name_key="servername")
        flow, udp = _checked_flow(entry.text("flow"), transport), entry.flag("udp", default=True)
        xudp, mux = is_xudp_of_clash(entry), mux_settings.from_clash(entry)
        return _checked(cls(host, port, str(user_id(user)), transport, entry.name, udp, xudp, flow, mux))

    def to_link(self) -> str:
        """As `Settings.to_link`."""
        options = {"encryption": "none", **transports.to_query(self.transport, _SECURITY)}
        if not self.udp:
            options["udp"] = "no"
        if self.xudp:
            options["packetEncoding"] = "xudp"
        if self.flow:
            options["flow"] = self.flow
        options |= mux_settings.to_query(self.mux)
        where = format_where(self.host, self.port)
        return f"vless://{self.user}@{where}{format_options(options)}{format_tag(self.tag)}"

    def outbound(self, context: OutboundContext) -> Outbound:
        """As `Settings.outbound`."""
        if self.flow:
            return self._outbound_of_vision(context)
        context, layers = laid(self.transport, self.first_hop, context)
        user = user_id(self.user).bytes

        def stream(target: Endpoint, _flow: FlowInfo | None) -> StreamCodec:
            return layers.under(VLESSClient(target, user))

        def begin(target: Endpoint) -> tuple[StreamCodec, StreamDatagramCodec]:
            return layers.under(VLESSClient(target, user, DATAGRAMS)), VLESSFrames(target)

        def begin_xudp(target: Endpoint) -> tuple[StreamCodec, StreamDatagramCodec]:
            return layers.under(VLESSClient(target, user, COMMAND)), XUDPFrames()

        frames = Frames(begin_xudp if self.xudp else begin, is_per_target=not self.xudp) if self.udp else None
        made = ServerOutbound(self.label, endpoint(self.host, self.port), context, stream, frames=frames)

        def shared() -> StreamRoute:
            return made.speaking(layers.under(VLESSClient(mux_settings.COOL_TARGET, user, COMMAND)))

        return multiplexed(made, self.mux, context, udp=self.udp, cool_route=shared)

    def _outbound_of_vision(self, context: OutboundContext) -> Outbound:
        """Datagrams of all targets go in one stream, since servers take none by `DATAGRAMS` with a flow control."""
        layer, user = tls_layer(self.transport, self.first_hop, context), user_id(self.user).bytes

        def codec(target: Endpoint, command: int) -> VisionClient:
            return VisionClient(layer(), VLESSClient(target, user, command, VISION), user, context.random_bytes)

        def stream(target: Endpoint, _flow: FlowInfo | None) -> StreamCodec:
            return codec(target, CONNECT)

        def begin(target: Endpoint) -> tuple[StreamCodec, StreamDatagramCodec]:
            return codec(target, COMMAND), XUDPFrames()

        refuses = refuses_none if self.flow.endswith(_WITH_QUIC) else _refuses_quic
        frames = Frames(begin, refuses=refuses) if self.udp else None
        return ServerOutbound(self.label, endpoint(self.host, self.port), context, stream, frames=frames)


SETTINGS = VLESSServer


def _checked(server: VLESSServer) -> VLESSServer:
    """Raises LocalError for what goes not together."""
    if server.flow and server.mux is not None:
        raise LocalError(f"VLESS flow={server.flow} and a mux do not go together: leave one of them out")
    return server


def _refuses_quic(target: Endpoint) -> str | None:
    if target.port != _QUIC_PORT:
        return None
    return "flow=xtls-rprx-vision keeps QUIC out, so that it becomes TLS over TCP; xtls-rprx-vision-udp443 carries it"


def _check_encryption(encryption: str | None) -> None:
    """Raises LocalError for what would be a weaker connection than was asked for."""
    if encryption not in {None, "none"}:
        raise LocalError(f"VLESS encryption={printable(encryption or '')} is not supported; none is")


def _checked_flow(flow: str | None, transport: Transport) -> str:
    """Raises LocalError for one that is not known, or that the transport cannot have."""
    if flow in {None, "", "none"}:
        return ""
    assert flow is not None
    if flow not in FLOWS:
        raise LocalError(f"VLESS flow={printable(flow)} is not supported; {' and '.join(FLOWS)} are")
    if transport.network != "tcp" or not transport.tls:
        raise LocalError(f"VLESS flow={flow} is for type=tcp with security=tls or reality: it takes TLS apart")
    return flow
