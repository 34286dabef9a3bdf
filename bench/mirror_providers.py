"""Providers that are measured: one that passes flows on, and two that send every packet back.

A packet that comes back with its addresses swapped is a packet from the other end: a program that connects to anybody
reaches this host itself, and every packet passes the provider once. Checksums do not notice the swap (RFC 1071).
"""

from __future__ import annotations

from tunflow.providers import (
    AppProxyFlow,
    AppProxyProvider,
    IPv4Route,
    IPv4Settings,
    PacketTunnelNetworkSettings,
    PacketTunnelProvider,
    TCPFlow,
    UDPFlow,
)

HERE = "10.9.0.2"
SETTINGS = PacketTunnelNetworkSettings(
    tunnel_remote_address="127.0.0.1",
    mtu=1500,
    ipv4_settings=IPv4Settings([f"{HERE}/24"], included_routes=[IPv4Route.default()]),
)


class Carry(AppProxyProvider):
    """Passes every flow on."""

    async def handle_new_flow(self, flow: AppProxyFlow) -> bool:
        """Straight out."""
        assert isinstance(flow, TCPFlow | UDPFlow)
        await flow.carry()
        return True


class Mirror(PacketTunnelProvider):
    """Sends plain packets back."""

    async def start_tunnel(self, options: object) -> None:  # noqa: ARG002
        """Nothing to connect to."""
        await self.set_tunnel_network_settings(SETTINGS)
        self.create_task(self._turn())

    async def _turn(self) -> None:
        flow = self.packet_flow
        while True:
            packets = await flow.read_packets()
            flow.write_packets([packet[:12] + packet[16:20] + packet[12:16] + packet[20:] for packet in packets])


class SuperMirror(Mirror):
    """Sends packets back as the system has them, up to 64 KB each."""

    super_packets = True

    async def _turn(self) -> None:
        flow = self.packet_flow
        while True:
            packets = await flow.read_super_packets()
            flow.write_super_packets(
                [[packet[:22] + packet[26:30] + packet[22:26], memoryview(packet)[30:]] for packet in packets]
            )
