"""`vmess://` links, the older ones (base64 of JSON, as v2rayN writes them) too, and Clash entries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

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
    printable,
    unquoted,
    yes_or_no,
)
from tunflow.protocols.mux import settings as mux_settings
from tunflow.protocols.mux.multiplexed import multiplexed
from tunflow.protocols.mux.settings import Mux
from tunflow.protocols.server_outbound import Frames, ServerOutbound
from tunflow.protocols.transport import settings as transports
from tunflow.protocols.transport.layers import laid
from tunflow.protocols.transport.rocket import parts_of_rocket
from tunflow.protocols.transport.transport import Transport
from tunflow.protocols.user_id import user_id
from tunflow.protocols.vmess.json_link import check_alter_id, parts_of_json
from tunflow.protocols.xudp import COMMAND, XUDPFrames, is_xudp, is_xudp_of_clash

_SHAPE = "vmess://UUID@HOST:PORT?encryption=auto&security=tls, or base64 of JSON"
_SECURITY = "none"
_OWN = ("encryption", "udp", "packetEncoding", *mux_settings.LINK_KEYS)
CIPHERS = ("aes-128-gcm", "chacha20-poly1305")


@dataclass(frozen=True, slots=True)
class VMessServer:
    """A VMess server; `user` is the id in its usual form, and a secret; `cipher` is one of `CIPHERS`."""

    wants_programs: ClassVar[bool] = False

    host: str
    port: int
    user: str = field(repr=False)
    cipher: str
    transport: Transport
    tag: str | None = None
    udp: bool = True
    """True if UDP goes there; else it is refused here."""
    xudp: bool = False
    """True if a client socket's datagrams go in one stream, by XUDP; else in one for each target."""
    mux: Mux | None = None
    """How flows share connections; None for a connection for each."""

    @property
    def label(self) -> str:
        """The server as logs name it."""
        return label("vmess", self.host, self.port, self.tag)

    @property
    def first_hop(self) -> tuple[str, int]:
        """As `Settings.first_hop`."""
        return self.host, self.port

    @classmethod
    def from_link(cls, link: Link) -> VMessServer:
        """As `Settings.from_link`."""
        parts = cut(link.rest)
        if parts.user is None:
            parts = parts_of_rocket("vmess", link.rest) or parts_of_json(link.rest, _SHAPE)
        if not parts.user:
            raise LocalError(f"the vmess:// link has no user id; it reads {_SHAPE}")
        host, port = parse_where("vmess", parts.where, _SHAPE, listening=link.listening)
        transport, own = transports.from_query("vmess", parts.query, _OWN, _SECURITY)
        user = str(user_id(unquoted("vmess", parts.user)))
        xudp = is_xudp(own.get("packetEncoding"))
        udp = yes_or_no("vmess", "udp", own.get("udp"), default=True)
        mux = mux_settings.from_query("vmess", own, listening=link.listening)
        return cls(host, port, user, _cipher(own.get("encryption")), transport, parts.tag, udp, xudp, mux)

    @classmethod
    def from_clash(cls, entry: ClashEntry) -> VMessServer:
        """As `Settings.from_clash`."""
        (user,) = entry.required("uuid")
        host, port = entry.where()
        check_alter_id(entry.text("alterId"))
        cipher = _cipher(entry.text("cipher"))
        transport = transports.from_clash(entry, tls=entry.flag("tls"), name_key="servername")
        udp, mux = entry.flag("udp", default=True), mux_settings.from_clash(entry)
        return cls(host, port, str(user_id(user)), cipher, transport, entry.name, udp, is_xudp_of_clash(entry), mux)

    def to_link(self) -> str:
        """As `Settings.to_link`; in the newer form."""
        options = {"encryption": self.cipher, **transports.to_query(self.transport, _SECURITY)}
        if not self.udp:
            options["udp"] = "no"
        if self.xudp:
            options["packetEncoding"] = "xudp"
        options |= mux_settings.to_query(self.mux)
        where = format_where(self.host, self.port)
        return f"vmess://{self.user}@{where}{format_options(options)}{format_tag(self.tag)}"

    def outbound(self, context: OutboundContext) -> Outbound:
        """As `Settings.outbound`."""
        from tunflow.protocols.vmess.chunks import AES_128_GCM, CHACHA20_POLY1305  # noqa: PLC0415
        from tunflow.protocols.vmess.header import CONNECT, DATAGRAMS, command_key  # noqa: PLC0415
        from tunflow.protocols.vmess.stream import VMessClient, VMessFrames  # noqa: PLC0415

        context, layers = laid(self.transport, self.first_hop, context)
        key = command_key(self.user)
        security = AES_128_GCM if self.cipher == "aes-128-gcm" else CHACHA20_POLY1305

        def client(target: Endpoint, command: int) -> VMessClient:
            return VMessClient(target, key, security, int(context.unix_time()), context.random_bytes, command)

        def stream(target: Endpoint, _flow: FlowInfo | None) -> StreamCodec:
            return layers.under(client(target, CONNECT))

        def begin(target: Endpoint) -> tuple[StreamCodec | None, StreamDatagramCodec]:
            return layers.bare(), VMessFrames(client(target, DATAGRAMS), target)

        def begin_xudp(target: Endpoint) -> tuple[StreamCodec, StreamDatagramCodec]:
            return layers.under(client(target, COMMAND)), XUDPFrames()

        frames = Frames(begin_xudp if self.xudp else begin, is_per_target=not self.xudp) if self.udp else None
        made = ServerOutbound(self.label, endpoint(self.host, self.port), context, stream, frames=frames)

        def shared() -> StreamRoute:
            return made.speaking(layers.under(client(mux_settings.COOL_TARGET, COMMAND)))

        return multiplexed(made, self.mux, context, udp=self.udp, cool_route=shared)


SETTINGS = VMessServer


def _cipher(text: str | None) -> str:
    """The cipher; "auto" is the faster one, and stands for those that seal nothing: servers take either.

    Raises LocalError.
    """
    if text in {None, "auto", "none", "zero"}:
        return CIPHERS[0]
    if text not in CIPHERS:
        raise LocalError(f"VMess encryption {printable(text or '')} is not supported; auto, {', '.join(CIPHERS)} are")
    return text
