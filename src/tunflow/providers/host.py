"""What runs a provider and does for it what it asks: the seam between `providers` and the rest.

A provider is an object of the user's; its base class reaches everything through this. `tunflow.hosting` implements it
for `run` and for the daemon of `up` alike, `tunflow.testing` for tests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from tunflow.endpoint import Endpoint
from tunflow.providers.configuration import TunnelProviderProtocol
from tunflow.providers.connections import TCPConnection, UDPSession
from tunflow.providers.dialers import FlowDialer
from tunflow.providers.dns_settings import DNSSettings
from tunflow.providers.network_path import NetworkPath
from tunflow.providers.tunnel_settings import TunnelNetworkSettings

if TYPE_CHECKING:
    import asyncio
    import ssl

    from tunflow.providers.packet_flow import PacketTunnelFlow


class ProviderHost(Protocol):
    """See the methods of the same names in `Provider`, `TunnelProvider` and `PacketTunnelProvider`."""

    configuration: TunnelProviderProtocol
    path: NetworkPath
    reasserting: bool
    trouble: str | None

    def paths(self) -> AsyncIterator[NetworkPath]:
        """Changes of `path`."""

    def display(self, message: str) -> None:
        """A line for the user."""

    def create_task(self, work: Coroutine[Any, Any, object], name: str) -> asyncio.Task[object]:
        """A task that ends with the provider."""

    async def connect(
        self, remote: Endpoint, tls: ssl.SSLContext | None, server_name: str | None, through: bool
    ) -> TCPConnection:
        """A stream around the tunnel, or through it."""

    async def open_udp(self, remote: Endpoint, local: Endpoint | None, through: bool) -> UDPSession:
        """A datagram session around the tunnel, or through it."""

    async def dialer(self, links: Sequence[str]) -> FlowDialer:
        """A way out by its links."""

    async def apply_settings(self, settings: TunnelNetworkSettings | None) -> None:
        """Make the system as the settings say."""

    def set_reasserting(self, value: bool) -> None:
        """Show the tunnel as reasserting, or as connected again."""

    def set_trouble(self, line: str | None) -> None:
        """Show a trouble in the tunnel's status, or none."""

    def cancel(self, error: BaseException | None) -> None:
        """End the tunnel by the provider's own will."""

    @property
    def packets(self) -> PacketTunnelFlow:
        """The packets of a packet tunnel."""

    @property
    def system_dns(self) -> tuple[DNSSettings, ...]:
        """The resolvers of the system."""
