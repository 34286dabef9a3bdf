"""The way out that leads nowhere."""

from __future__ import annotations

from tunflow.endpoint import Endpoint
from tunflow.flow import FlowInfo
from tunflow.protocols.contract import Blocked, Carries, CodecRoute, DatagramRoute, NameSource
from tunflow.protocols.server_addresses import ServerAddresses


class BlockOutbound:
    """Refuses every flow. As `contract.Outbound`."""

    label = "block://"
    carries = Carries.STREAMS | Carries.DATAGRAMS | Carries.NAMES
    wants_flow = False
    server: ServerAddresses | None = None
    resolver: NameSource | None = None

    def stream(self, target: Endpoint, flow: FlowInfo | None = None) -> CodecRoute:  # noqa: ARG002
        """Raises Blocked."""
        raise Blocked(f"{target} is blocked by block://")

    def datagrams(self) -> DatagramRoute:
        """Raises Blocked."""
        raise Blocked("blocked by block://")
