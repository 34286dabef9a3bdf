"""`socks5://`, `socks4://`, `socks4a://`.

Curl's spelling `socks5h://` is `socks5://`, and `socks://` too: a name is always left to the server here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from tunflow.endpoint import Endpoint, endpoint
from tunflow.errors import LocalError
from tunflow.flow import FlowInfo
from tunflow.protocols.clash_entry import ClashEntry
from tunflow.protocols.codec import StreamCodec
from tunflow.protocols.contract import Outbound, OutboundContext
from tunflow.protocols.link import (
    YES_NO,
    Link,
    cut,
    format_options,
    format_tag,
    format_user,
    format_where,
    label,
    parse_options,
    parse_user,
    parse_where,
)
from tunflow.protocols.server_outbound import Request, ServerOutbound
from tunflow.protocols.socks import socks5
from tunflow.protocols.socks.client4 import Socks4Client
from tunflow.protocols.socks.client5 import Socks5Client, Socks5Datagrams

SOCKS_PORT = 1080
"""IANA's "socks"."""


@dataclass(frozen=True, slots=True)
class SocksServer:
    """A SOCKS server; `scheme` is "socks5", "socks4" or "socks4a". SOCKS4 has a user id and no password.

    With `optimistic` a flow's bytes follow the request at once, for servers that take that (SOCKS5): it saves a round
    trip, and a refusal resets the client's connection instead of refusing it.
    """

    wants_programs: ClassVar[bool] = False

    scheme: str
    host: str
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    optimistic: bool = False
    tag: str | None = None
    udp: bool = True
    """True if UDP is asked for (SOCKS5); else it is refused here."""

    @property
    def label(self) -> str:
        """The server as logs name it."""
        return label(self.scheme, self.host, self.port, self.tag)

    @property
    def first_hop(self) -> tuple[str, int]:
        """As `Settings.first_hop`."""
        return self.host, self.port

    @classmethod
    def from_link(cls, link: Link) -> SocksServer:
        """As `Settings.from_link`."""
        parts = cut(link.rest)
        user, password = parse_user(link.scheme, parts.user)
        is_version_5 = link.scheme not in {"socks4", "socks4a"}
        scheme = "socks5" if is_version_5 else link.scheme
        sign_in = "[USER:PASSWORD@]" if is_version_5 else "[USER@]"
        host, port = parse_where(scheme, parts.where, f"{scheme}://{sign_in}HOST:PORT", port=SOCKS_PORT)
        options = parse_options(scheme, parts.query, {"optimistic": YES_NO, "udp": YES_NO} if is_version_5 else {})
        _check_user(scheme, user, password)
        optimistic, udp = options.get("optimistic") == "yes", options.get("udp") != "no"
        return cls(scheme, host, port, user, password, optimistic, parts.tag, udp)

    @classmethod
    def from_clash(cls, entry: ClashEntry) -> SocksServer:
        """As `Settings.from_clash`."""
        if entry.flag("tls"):
            raise LocalError("tls is not supported for socks5")
        host, port = entry.where()
        user = entry.text("username")
        password = (entry.text("password") or "") if user else None
        _check_user("socks5", user, password)
        return cls("socks5", host, port, user, password, tag=entry.name, udp=entry.flag("udp", default=True))

    def to_link(self) -> str:
        """As `Settings.to_link`."""
        options = {"optimistic": "yes"} if self.optimistic else {}
        if not self.udp:
            options["udp"] = "no"
        user = format_user(self.user, self.password)
        where = format_where(self.host, self.port)
        return f"{self.scheme}://{user}{where}{format_options(options)}{format_tag(self.tag)}"

    def outbound(self, context: OutboundContext) -> Outbound:
        """As `Settings.outbound`."""
        where = endpoint(self.host, self.port)
        if self.scheme != "socks5":
            return ServerOutbound(self.label, where, context, self._ask_version_4)
        credentials = None if self.user is None else socks5.credentials(self.user, self.password or "")
        optimistic = self.optimistic

        def stream(target: Endpoint, _flow: FlowInfo | None) -> StreamCodec:
            return Socks5Client(target, credentials, optimistic=optimistic)

        def associate() -> Request:
            asks = Socks5Client(socks5.ANYWHERE, credentials, command=socks5.UDP_ASSOCIATE)
            return Request(asks, lambda: asks.bound)

        return ServerOutbound(self.label, where, context, stream, Socks5Datagrams if self.udp else None, associate)

    def _ask_version_4(self, target: Endpoint, _flow: FlowInfo | None) -> StreamCodec:
        return Socks4Client(target, self.user or "", names=self.scheme == "socks4a")


SETTINGS = SocksServer


def _check_user(scheme: str, user: str | None, password: str | None) -> None:
    """Raises LocalError for what the version of the protocol cannot carry."""
    if scheme == "socks5":
        if user is not None:
            socks5.credentials(user, password or "")
    elif password is not None:
        raise LocalError(f"{scheme}:// has a user name only, no password")
    elif user is not None and "\0" in user:
        raise LocalError(f"the user name of a {scheme}:// link has no NUL in it")
