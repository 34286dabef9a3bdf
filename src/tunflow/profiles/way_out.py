"""What servers make of a profile: flows go through them in order, or all packets through one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunflow.errors import LocalError
from tunflow.protocols.contract import PacketTunnel
from tunflow.protocols.registry import parse_server


def way_out(links: Sequence[str]) -> dict[str, Any]:
    """The profile's keys for the servers of links. Raises LocalError."""
    for link in links:
        server = parse_server(link)
        if isinstance(server, PacketTunnel):
            if len(links) > 1:
                scheme = link.partition(":")[0]
                raise LocalError(f"{scheme}:// carries packets: it cannot be part of a chain of servers")
            return {"provider": server.provider, "provider_configuration": server.provider_configuration}
    return {"server": tuple(links)}


def is_packet_tunnel(links: Sequence[str]) -> bool:
    """Return True if one of the servers carries packets. Raises LocalError for what is no server's link."""
    return any(isinstance(parse_server(link), PacketTunnel) for link in links)
