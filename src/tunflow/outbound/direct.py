"""The lowest way out: straight to a target, or to the first server of a chain."""

from __future__ import annotations

from tunflow.endpoint import Endpoint
from tunflow.flow import FlowInfo
from tunflow.loop.socket_address import address_of
from tunflow.protocols.contract import Carries, CodecRoute, DatagramRoute, NameSource
from tunflow.protocols.server_addresses import ServerAddresses


class DirectOutbound:
    """Straight to the target, which must be an address. As `contract.Outbound`."""

    label = "direct://"
    carries = Carries.STREAMS | Carries.DATAGRAMS
    wants_flow = False
    server: ServerAddresses | None = None
    resolver: NameSource | None = None

    def stream(self, target: Endpoint, flow: FlowInfo | None = None) -> CodecRoute:  # noqa: ARG002
        """The target itself."""
        return CodecRoute((address_of(target),), None, self.label)

    def datagrams(self) -> DatagramRoute:
        """Each target itself."""
        return DatagramRoute((), None, self.label)


class FirstHop:
    """What is below the first server of a chain: its addresses, whatever it is asked for. As `contract.Outbound`."""

    label = ""
    carries = Carries.STREAMS | Carries.DATAGRAMS
    wants_flow = False
    resolver: NameSource | None = None

    def __init__(self, server: ServerAddresses) -> None:
        self.server: ServerAddresses | None = server
        self._server = server
        self._stream = CodecRoute(server.in_order, None, "", server)

    def stream(self, target: Endpoint, flow: FlowInfo | None = None) -> CodecRoute:  # noqa: ARG002
        """The server."""
        if self._stream.addresses is not self._server.in_order:
            self._stream = CodecRoute(self._server.in_order, None, "", self._server)
        return self._stream

    def datagrams(self) -> DatagramRoute:
        """To the server."""
        return DatagramRoute(self._server.in_order, None, "", self._server)
