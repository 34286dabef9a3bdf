"""`toy://`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from toyproxy.client import ToyClient
from tunflow.endpoint import endpoint
from tunflow.errors import LocalError
from tunflow.protocols.clash_entry import ClashEntry
from tunflow.protocols.contract import Outbound, OutboundContext
from tunflow.protocols.link import Link, cut, format_tag, format_user, format_where, label, parse_options, parse_where
from tunflow.protocols.server_outbound import ServerOutbound


@dataclass(frozen=True, slots=True)
class ToyServer:
    """A toy server; `key` is a number from 1 to 255."""

    wants_programs: ClassVar[bool] = False

    host: str
    port: int
    key: str = field(repr=False)
    tag: str | None = None

    def __post_init__(self) -> None:
        if not (self.key.isascii() and self.key.isdigit() and len(self.key) <= 3 and 0 < int(self.key) < 256):
            raise LocalError("the key of a toy:// link is a number from 1 to 255")

    @property
    def label(self) -> str:
        return label("toy", self.host, self.port, self.tag)

    @property
    def first_hop(self) -> tuple[str, int]:
        return self.host, self.port

    @classmethod
    def from_link(cls, link: Link) -> ToyServer:
        parts = cut(link.rest)
        parse_options("toy", parts.query, {})
        return cls(*parse_where("toy", parts.where, "toy://KEY@HOST:PORT"), parts.user or "", parts.tag)

    @classmethod
    def from_clash(cls, entry: ClashEntry) -> ToyServer:
        (key,) = entry.required("key")
        return cls(*entry.where(), key, entry.name)

    def to_link(self) -> str:
        return f"toy://{format_user(self.key, None)}{format_where(self.host, self.port)}{format_tag(self.tag)}"

    def outbound(self, context: OutboundContext) -> Outbound:
        key = int(self.key)
        return ServerOutbound(
            self.label, endpoint(self.host, self.port), context, lambda target, _flow: ToyClient(key, target)
        )


SETTINGS = ToyServer
