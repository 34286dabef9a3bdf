"""A tunnel that takes whole IP packets: NEPacketTunnelProvider. A custom VPN protocol is a class with these methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tunflow.endpoint import Endpoint
from tunflow.providers.connections import TCPConnection, UDPSession
from tunflow.providers.packet_flow import PacketTunnelFlow
from tunflow.providers.provider import TunnelProvider, _remote
from tunflow.providers.stop_reason import ProviderStopReason

if TYPE_CHECKING:
    import ssl


class PacketTunnelProvider(TunnelProvider):
    """NEPacketTunnelProvider.

    The usual order in `start_tunnel`: connect to the server, `set_tunnel_network_settings`, start a task that reads
    `packet_flow`, return. Then the tunnel is connected.
    """

    super_packets = False
    """True if packets are read as the system has them, up to 64 KB, instead of cut to the MTU."""

    @classmethod
    def require_programs(cls) -> None:
        """Raise LocalError where this machine lacks a program that it takes, or its permission: asked before anything
        is changed."""

    async def start_tunnel(self, options: Mapping[str, Any] | None) -> None:
        """Bring the tunnel up; what it raises is why it did not. `options` is None unless a user gave some."""
        raise NotImplementedError(f"{type(self).__name__} has no start_tunnel")

    async def stop_tunnel(self, reason: ProviderStopReason) -> None:
        """Take the tunnel down. Called once, for whatever reason but the provider's own `cancel_tunnel`."""

    def cancel_tunnel(self, error: BaseException | None = None) -> None:
        """End the tunnel from within: it could not be kept up. `stop_tunnel` is not called."""
        self._host.cancel(error)

    @property
    def packet_flow(self) -> PacketTunnelFlow:
        """The packets."""
        return self._host.packets

    async def create_tcp_connection_through_tunnel(
        self,
        host: str | Endpoint,
        port: int = 0,
        *,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
    ) -> TCPConnection:
        """Connect to an address behind the tunnel, as a program on this machine would: its packets come out of
        `packet_flow`. Raises OSError."""
        return await self._host.connect(_remote(host, port), tls, server_name, through=True)

    async def create_udp_session_through_tunnel(
        self, host: str | Endpoint, port: int = 0, *, local: Endpoint | None = None
    ) -> UDPSession:
        """A UDP session with an address behind the tunnel. Raises OSError."""
        return await self._host.open_udp(_remote(host, port), local, through=True)
