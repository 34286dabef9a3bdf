"""`block://`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tunflow.protocols.block.outbound import BlockOutbound
from tunflow.protocols.clash_entry import ClashEntry
from tunflow.protocols.contract import Outbound, OutboundContext
from tunflow.protocols.link import Link, refuse_rest


@dataclass(frozen=True, slots=True)
class BlockServer:
    """No server: flows are refused."""

    label: ClassVar[str] = "block://"
    tag: ClassVar[str | None] = None
    first_hop: ClassVar[None] = None
    wants_programs: ClassVar[bool] = False

    @classmethod
    def from_link(cls, link: Link) -> BlockServer:
        """As `Settings.from_link`."""
        refuse_rest(link)
        return cls()

    @classmethod
    def from_clash(cls, _entry: ClashEntry) -> BlockServer:
        """As `Settings.from_clash`."""
        return cls()

    def to_link(self) -> str:
        """As `Settings.to_link`."""
        return self.label

    def outbound(self, _context: OutboundContext) -> Outbound:
        """As `Settings.outbound`."""
        return BlockOutbound()


SETTINGS = BlockServer
