"""A `wireguard://` link as one server of the registry's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tunflow.errors import LocalError
from tunflow.protocols.clash_entry import ClashEntry
from tunflow.protocols.contract import Outbound, OutboundContext
from tunflow.protocols.link import Link
from tunflow.protocols.wireguard.config_file import format_config
from tunflow.protocols.wireguard.link import format_link, parse_link
from tunflow.protocols.wireguard.settings import SCHEME, WireGuardSettings


@dataclass(frozen=True, slots=True)
class WireGuardServer:
    """One interface with one peer that can be called."""

    provider: ClassVar[str] = SCHEME
    wants_programs: ClassVar[bool] = False

    settings: WireGuardSettings

    @property
    def label(self) -> str:
        """As `Settings.label`."""
        return self.settings.label

    @property
    def tag(self) -> str | None:
        """As `Settings.tag`."""
        return self.settings.tag

    @property
    def first_hop(self) -> tuple[str, int] | None:
        """As `Settings.first_hop`."""
        peer = self.settings.first_hop
        return None if peer is None else (peer.host_text, peer.port)

    @property
    def provider_configuration(self) -> dict[str, object]:
        """As `PacketTunnel.provider_configuration`."""
        return {"config": format_config(self.settings)}

    @classmethod
    def from_link(cls, link: Link) -> WireGuardServer:
        """As `Settings.from_link`."""
        return cls(parse_link(f"{link.scheme}://{link.rest}"))

    @classmethod
    def from_clash(cls, _entry: ClashEntry) -> WireGuardServer:
        """Raises LocalError: an entry of a Clash file is a rule's target, which a packet tunnel is not yet."""
        raise LocalError("a WireGuard server cannot be a rule's target")

    def to_link(self) -> str:
        """As `Settings.to_link`."""
        return format_link(self.settings)

    def outbound(self, _context: OutboundContext) -> Outbound:
        """Raises LocalError: packets are no flows."""
        raise LocalError(f"{SCHEME}:// carries packets and no flows: give it alone")


SETTINGS = WireGuardServer
