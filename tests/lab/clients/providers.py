"""Providers that the lab runs."""

from __future__ import annotations

import asyncio

from tunflow.providers import (
    AppProxyProvider,
    DNSSettings,
    IPv4Route,
    IPv4Settings,
    IPv6Route,
    IPv6Settings,
    PacketTunnelNetworkSettings,
    PacketTunnelProvider,
    TransparentProxyProvider,
    UDPFlow,
    flow_error,
)

SETTINGS = PacketTunnelNetworkSettings(
    tunnel_remote_address="127.0.0.1",
    ipv4_settings=IPv4Settings(
        ["10.9.0.2/24"], included_routes=[IPv4Route.default()], excluded_routes=[IPv4Route("203.0.113.0/24")]
    ),
    ipv6_settings=IPv6Settings(["fd00:9::2/64"], included_routes=[IPv6Route.default()]),
    dns_settings=DNSSettings(["10.9.0.1"], search_domains=["lab.example"]),
)


class Carry(AppProxyProvider):
    async def handle_new_flow(self, flow):
        await flow.carry()
        return True


class Pump(AppProxyProvider):
    def handle_new_flow(self, flow):
        if isinstance(flow, UDPFlow):
            return False
        self.create_task(self.serve(flow))
        return True

    async def serve(self, flow):
        try:
            far = await self.create_tcp_connection(flow.remote_endpoint)
        except OSError as error:
            flow.close_write(flow_error(error))
            return
        await flow.open()
        await flow.splice(far)


class Talks(Carry):
    async def start_proxy(self, options):
        self.options = options

    async def handle_app_message(self, data):
        return data[::-1] + repr(self.options).encode()


class Straight(TransparentProxyProvider):
    """Without settings it is asked about nothing."""


class Refuses(AppProxyProvider):
    def handle_new_flow(self, flow):
        return False


class Raises(AppProxyProvider):
    def handle_new_flow(self, flow):
        raise KeyError("nothing")


class NoStart(PacketTunnelProvider):
    async def start_tunnel(self, options):
        await self.create_tcp_connection("127.0.0.1", 9)


class NoSettings(PacketTunnelProvider):
    async def start_tunnel(self, options):
        pass


def turned(packet):
    """With its addresses swapped, and an echo request made its reply."""
    if packet[0] >> 4 == 6:
        packet = packet[:8] + packet[24:40] + packet[8:24] + packet[40:]
        return _reply(packet, 40, 128, 129, 0x100) if packet[6] == 58 else packet
    packet = packet[:12] + packet[16:20] + packet[12:16] + packet[20:]
    return _reply(packet, 20, 8, 0, -0x800) if packet[9] == 1 else packet


def _reply(packet, at, asked, answered, change):
    if packet[at] != asked:
        return packet
    total = (packet[at + 2] << 8 | packet[at + 3]) - change
    total = (total % 0xFFFF).to_bytes(2, "big")
    return packet[:at] + bytes([answered]) + packet[at + 1 : at + 2] + total + packet[at + 4 :]


class Mirror(PacketTunnelProvider):
    async def start_tunnel(self, options):
        await self.set_tunnel_network_settings(SETTINGS)
        self.create_task(self.turn())

    async def turn(self):
        while True:
            packets = await self.packet_flow.read_packets()
            self.packet_flow.write_packets([turned(packet) for packet in packets])


class SuperMirror(Mirror):
    super_packets = True

    async def turn(self):
        while True:
            packets = await self.packet_flow.read_super_packets()
            self.packet_flow.write_super_packets([[packet[:10], turned(packet[10:])] for packet in packets])


class Dies(Mirror):
    async def turn(self):
        await asyncio.sleep(0.05)
        raise RuntimeError("server gone")


class Answers(AppProxyProvider):
    """Tells what it was started with, and answers messages."""

    async def start_proxy(self, options):
        self.options = options

    async def handle_new_flow(self, flow):
        await flow.carry()
        return True

    async def handle_app_message(self, data):
        told = self.protocol_configuration.provider_configuration["word"]
        return f"{data.decode()} {self.options['answer']} {told}".encode()
