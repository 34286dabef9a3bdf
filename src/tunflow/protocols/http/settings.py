"""`http://` and `https://`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from tunflow.endpoint import Endpoint, endpoint
from tunflow.flow import FlowInfo
from tunflow.protocols.chain import ChainedStream
from tunflow.protocols.clash_entry import ClashEntry
from tunflow.protocols.codec import StreamCodec
from tunflow.protocols.contract import Outbound, OutboundContext
from tunflow.protocols.http.connect import HTTPConnectClient, basic
from tunflow.protocols.link import (
    Link,
    cut,
    format_tag,
    format_user,
    format_where,
    label,
    parse_options,
    parse_user,
    parse_where,
)
from tunflow.protocols.server_outbound import ServerOutbound


@dataclass(frozen=True, slots=True)
class HTTPServer:
    """An HTTP proxy, over TLS if its `scheme` is "https"."""

    wants_programs: ClassVar[bool] = False

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

    @property
    def first_hop(self) -> tuple[str, int]:
        """As `Settings.first_hop`."""
        return self.host, self.port

    @classmethod
    def from_link(cls, link: Link) -> HTTPServer:
        """As `Settings.from_link`."""
        parts = cut(link.rest)
        scheme = link.scheme
        user, password = parse_user(scheme, parts.user)
        host, port = parse_where(scheme, parts.where, f"{scheme}://[USER:PASSWORD@]HOST:PORT")
        parse_options(scheme, parts.query, {})
        if user is not None:
            basic(user, password or "")
        return cls(scheme, host, port, user, password, parts.tag)

    @classmethod
    def from_clash(cls, entry: ClashEntry) -> HTTPServer:
        """As `Settings.from_clash`."""
        scheme = "https" if entry.flag("tls") else "http"
        host, port = entry.where()
        user = entry.text("username")
        password = (entry.text("password") or "") if user else None
        if user is not None:
            basic(user, password or "")
        return cls(scheme, host, port, user, password, entry.name)

    def to_link(self) -> str:
        """As `Settings.to_link`."""
        user = format_user(self.user, self.password)
        return f"{self.scheme}://{user}{format_where(self.host, self.port)}{format_tag(self.tag)}"

    def outbound(self, context: OutboundContext) -> Outbound:
        """As `Settings.outbound`."""
        authorization = None if self.user is None else basic(self.user, self.password or "")
        where = endpoint(self.host, self.port)

        def connect(target: Endpoint, _flow: FlowInfo | None) -> StreamCodec:
            return HTTPConnectClient(target, authorization)

        if self.scheme == "http":
            return ServerOutbound(self.label, where, context, connect)
        from tunflow.protocols.transport.resumption import Resumption  # noqa: PLC0415  (ssl is not for who has no use)
        from tunflow.protocols.transport.tls import TLSClient  # noqa: PLC0415

        tls, host, resumption = context.tls(), self.host, Resumption(context.unix_time)

        def connect_over_tls(target: Endpoint, _flow: FlowInfo | None) -> StreamCodec:
            return ChainedStream(TLSClient(tls, host, None, resumption), HTTPConnectClient(target, authorization))

        return ServerOutbound(self.label, where, context, connect_over_tls)


SETTINGS = HTTPServer
