"""What servers make of a profile: flows go through them in order, or all packets through the only one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunflow.profiles.server_link import ServerLink
from tunflow.protocols.contract import PacketTunnel


def server_keys(links: Sequence[ServerLink]) -> dict[str, Any]:
    """The profile's keys for servers. Raises LocalError."""
    if len(links) == 1 and isinstance(server := links[0].server, PacketTunnel):
        # It needs no stack: packets go straight from the device into the tunnel.
        return {"provider": server.provider, "provider_configuration": server.provider_configuration}
    return {"server": tuple(links)}
