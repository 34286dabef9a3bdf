"""Cisco AnyConnect and its kin as a packet tunnel provider: the program `openconnect` speaks, its packets are ours.

Configuration (`provider_configuration`): `link` (`openconnect://…`).

`openconnect --script-tun` gives IP packets on a socket instead of a device, so it needs no rights. It reaches its
server by a port of ours on loopback: its traffic is the provider's own, which no tunnel captures, and which may go
through other servers. That port carries TCP, so DTLS and ESP are off.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from typing import Any

from tunflow.endpoint import Endpoint
from tunflow.errors import LocalError, RemoteError
from tunflow.protocols.link import Link
from tunflow.protocols.openconnect.environment import Assigned, assigned_untrusted
from tunflow.protocols.openconnect.settings import SCHEME, SHAPE, OpenConnectServer
from tunflow.providers import terminal
from tunflow.providers.connections import TCPConnection
from tunflow.providers.dns_settings import DNSSettings
from tunflow.providers.ip_settings import IPv4Route, IPv4Settings, IPv6Route, IPv6Settings
from tunflow.providers.loopback_proxy import LoopbackProxy
from tunflow.providers.openconnect_program import HandedOver, OpenConnectProgram, openconnect_path
from tunflow.providers.packet_tunnel import PacketTunnelProvider
from tunflow.providers.program_packets import carry_from_program, carry_to_program
from tunflow.providers.stop_reason import ProviderStopReason
from tunflow.providers.tunnel_settings import PacketTunnelNetworkSettings

DEFAULT_MTU = 1400

_REMEDY = f"write the user and the password into the link: {SHAPE}"


class OpenConnectProvider(PacketTunnelProvider):
    """A client of whatever `openconnect` speaks."""

    _proxy: LoopbackProxy | None = None
    _program: OpenConnectProgram | None = None
    _packets: socket.socket | None = None
    _tasks: tuple[asyncio.Task[object], ...] = ()

    @classmethod
    def require_programs(cls) -> None:
        """As `PacketTunnelProvider.require_programs`."""
        openconnect_path()

    async def start_tunnel(self, options: Mapping[str, Any] | None) -> None:  # noqa: ARG002
        """Sign in and set the network as the server says. Raises LocalError, RemoteError."""
        server = server_of(self.protocol_configuration.provider_configuration)
        self._proxy = LoopbackProxy(self._connect)
        await self._proxy.start()
        self._program = OpenConnectProgram(server, self._ask)
        tunnel = await self._program.start(self._proxy.url, asks=terminal.has_terminal())
        self._packets = tunnel.packets
        await self.set_tunnel_network_settings(network_settings(server, tunnel))
        self._tasks = (
            self.create_task(carry_to_program(self.packet_flow, tunnel.packets), name="packets to openconnect"),
            self.create_task(carry_from_program(tunnel.packets, self.packet_flow), name="packets from openconnect"),
            self.create_task(self._watch(self._program), name="openconnect"),
        )

    async def stop_tunnel(self, reason: ProviderStopReason) -> None:  # noqa: ARG002
        """Sign out."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._program is not None:
            await self._program.stop()
        self._close()

    def _close(self) -> None:
        if self._proxy is not None:
            self._proxy.close()
        if self._packets is not None:
            self._packets.close()

    async def _connect(self, target: Endpoint) -> TCPConnection:
        return await self.create_tcp_connection(target)

    async def _ask(self, question: str) -> str:
        return await terminal.ask(f"{question} ", echo="assword" not in question, remedy=_REMEDY)

    async def _watch(self, program: OpenConnectProgram) -> None:
        """The tunnel ends with the program."""
        reason = await program.ended()
        self.cancel_tunnel(RemoteError(reason))


def server_of(values: Mapping[str, Any]) -> OpenConnectServer:
    """What a provider's configuration says. Raises LocalError."""
    scheme, separator, rest = str(values.get("link", "")).partition("://")
    if scheme.lower() != SCHEME or not separator:
        raise LocalError(f"provider_configuration: link is expected, which reads {SHAPE}")
    return OpenConnectServer.from_link(Link(SCHEME, rest))


def network_settings(server: OpenConnectServer, tunnel: HandedOver) -> PacketTunnelNetworkSettings:
    """The system's settings for what the server assigned. Raises BadPacket, LocalError."""
    told: Assigned = assigned_untrusted(tunnel.told)
    texts4 = [address for address in told.addresses if ":" not in address]
    texts6 = [address for address in told.addresses if ":" in address]
    included, excluded = ([str(network) for network in networks] for networks in (told.included, told.excluded))
    return PacketTunnelNetworkSettings(
        tunnel_remote_address=server.host,
        ipv4_settings=IPv4Settings(
            texts4,
            included_routes=[IPv4Route(network) for network in included if ":" not in network],
            excluded_routes=[IPv4Route(network) for network in excluded if ":" not in network],
        )
        if texts4
        else None,
        ipv6_settings=IPv6Settings(
            texts6,
            included_routes=[IPv6Route(network) for network in included if ":" in network],
            excluded_routes=[IPv6Route(network) for network in excluded if ":" in network],
        )
        if texts6
        else None,
        dns_settings=DNSSettings(
            [str(address) for address in told.resolvers],
            search_domains=told.search_domains,
            match_domains=told.match_domains or [""],
        )
        if told.resolvers
        else None,
        mtu=told.mtu or DEFAULT_MTU,
    )
