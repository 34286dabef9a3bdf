"""`tor://`."""

from __future__ import annotations

from dataclasses import dataclass

from tunflow.errors import LocalError
from tunflow.protocols.clash_entry import ClashEntry
from tunflow.protocols.contract import Outbound, OutboundContext
from tunflow.protocols.link import (
    YES_NO,
    Link,
    cut,
    format_options,
    format_tag,
    format_where,
    label,
    parse_options,
    parse_where,
)
from tunflow.protocols.tor.outbound import TorOutbound

TOR_HOST, TOR_PORT = "127.0.0.1", 9050
"""tor(1), SocksPort: where it listens by default."""

_ISOLATE = ("flow", "program")


@dataclass(frozen=True, slots=True)
class TorServer:
    """Tor's SOCKS port. `isolate` is what has circuits of its own: "flow", "program", or None for this process."""

    host: str = TOR_HOST
    port: int = TOR_PORT
    isolate: str | None = None
    optimistic: bool = False
    tag: str | None = None

    @property
    def label(self) -> str:
        """The server as logs name it."""
        return label("tor", self.host, self.port, self.tag)

    @property
    def first_hop(self) -> tuple[str, int]:
        """As `Settings.first_hop`."""
        return self.host, self.port

    @property
    def wants_programs(self) -> bool:
        """Return True if each program has circuits of its own."""
        return self.isolate == "program"

    @classmethod
    def from_link(cls, link: Link) -> TorServer:
        """As `Settings.from_link`."""
        parts = cut(link.rest)
        if parts.user is not None:
            raise LocalError("tor:// takes no user name or password: they are what tells circuits apart")
        host, port = parse_where("tor", parts.where, "tor://[HOST[:PORT]]", listening=True, port=TOR_PORT)
        options = parse_options("tor", parts.query, {"isolate": _ISOLATE, "optimistic": YES_NO})
        return cls(host or TOR_HOST, port, options.get("isolate"), options.get("optimistic") == "yes", parts.tag)

    @classmethod
    def from_clash(cls, _entry: ClashEntry) -> TorServer:
        """Raises LocalError: Clash has no such type."""
        raise LocalError("a Clash file has no Tor")

    def to_link(self) -> str:
        """As `Settings.to_link`."""
        options = {"isolate": self.isolate} if self.isolate else {}
        if self.optimistic:
            options["optimistic"] = "yes"
        return f"tor://{format_where(self.host, self.port)}{format_options(options)}{format_tag(self.tag)}"

    def outbound(self, context: OutboundContext) -> Outbound:
        """As `Settings.outbound`."""
        return TorOutbound(self.label, self.host, self.port, context, self.isolate, self.optimistic)


SETTINGS = TorServer
