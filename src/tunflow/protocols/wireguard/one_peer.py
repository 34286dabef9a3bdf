"""A `wireguard://` link as one server of the registry's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from tunflow.protocols.clash_entry import ClashEntry
from tunflow.protocols.contract import Outbound, OutboundContext
from tunflow.protocols.link import Link
from tunflow.protocols.wireguard.clash import settings_of_entry
from tunflow.protocols.wireguard.config_file import format_config, parse_config
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
        told = {"told": list(self.settings.told)} if self.settings.told else {}
        return {"config": format_config(self.settings), **told}

    @classmethod
    def from_file(cls, content: bytes, name: str, _read: Callable[[str], bytes]) -> WireGuardServer:
        """As `FromFile.from_file`."""
        return cls(parse_config(content.decode("utf-8-sig", errors="replace"), name))

    @classmethod
    def from_link(cls, link: Link) -> WireGuardServer:
        """As `Settings.from_link`."""
        return cls(parse_link(f"{link.scheme}://{link.rest}"))

    @classmethod
    def from_clash(cls, entry: ClashEntry) -> WireGuardServer:
        """As `Settings.from_clash`."""
        return cls(settings_of_entry(entry))

    def to_link(self) -> str:
        """As `Settings.to_link`."""
        return format_link(self.settings)

    def outbound(self, context: OutboundContext) -> Outbound:
        """As `Settings.outbound`: by a stack at the tunnel's near end. Raises LocalError where nobody runs one."""
        return context.tunnel(self)


SETTINGS = WireGuardServer
