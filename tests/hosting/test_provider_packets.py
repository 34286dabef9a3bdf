"""Packet tunnels: packets both ways, plain and super, and connections through the tunnel, in memory."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tunflow.endpoint import endpoint
from tunflow.providers import (
    AppProxyFlowError,
    AppProxyFlowErrorCode,
    IPv4Route,
    IPv4Settings,
    IPv6Settings,
    Packet,
    PacketTunnelNetworkSettings,
    PacketTunnelProvider,
)
from tunflow.testing.provider_rig import play
from tunflow.wire.checksum import checksum, transport_checksum

SETTINGS = PacketTunnelNetworkSettings(
    tunnel_remote_address="x",
    ipv4_settings=IPv4Settings(["10.0.0.2/24"], included_routes=[IPv4Route.default()]),
    ipv6_settings=IPv6Settings(["fd00:9::2/64"]),
    mtu=1400,
)


def turned(packet):
    """The packet on its way back: its addresses swapped, which no checksum notices."""
    if packet[0] >> 4 == 6:
        return packet[:8] + packet[24:40] + packet[8:24] + packet[40:]
    return packet[:12] + packet[16:20] + packet[12:16] + packet[20:]


class Mirror(PacketTunnelProvider):
    """Sends every packet back, so that a program that connects anywhere reaches this host itself."""

    def __init__(self):
        self.sizes = []

    async def start_tunnel(self, options):
        await self.set_tunnel_network_settings(SETTINGS)
        self.create_task(self.turn())

    async def turn(self):
        while True:
            packets = await self.packet_flow.read_packets()
            self.sizes += map(len, packets)
            for packet in packets:
                check(packet)
            self.packet_flow.write_packets([turned(packet) for packet in packets])


def check(packet):
    """Lengths and checksums are right."""
    if packet[0] >> 4 == 4:
        assert packet[2] << 8 | packet[3] == len(packet)
        assert checksum(packet[:20]) == 0
        source, target, protocol, at = packet[12:16], packet[16:20], packet[9], 20
    else:
        assert (packet[4] << 8 | packet[5]) + 40 == len(packet)
        source, target, protocol, at = packet[8:24], packet[24:40], packet[6], 40
    assert transport_checksum(source, target, protocol, packet[at:]) == 0


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_plain_packets_are_whole(address):
    """The mirror answers a SYN with the SYN itself, which the client refuses."""

    async def scene(rig):
        connecting = asyncio.ensure_future(rig.connect(endpoint(address, 80)))
        async with asyncio.timeout(60):
            while not rig.provider.sizes:
                await asyncio.sleep(0)
        connecting.cancel()

    assert play(Mirror(), scene).lines == []


def test_super_packets_are_cut_unless_asked_for():
    async def scene(rig):
        udp = await rig.open_udp(endpoint("192.0.2.1", 7))
        await udp.write_datagrams([bytes(1000)] * 3)
        async with asyncio.timeout(60):
            while len(rig.provider.sizes) < 3:
                await asyncio.sleep(0)
        assert set(rig.provider.sizes) == {1028}
        with pytest.raises(AppProxyFlowError) as caught:
            await rig.provider.packet_flow.read_super_packets()
        assert caught.value.code is AppProxyFlowErrorCode.INVALID_ARGUMENT

    play(Mirror(), scene)


class Host(Mirror):
    """A tunnel whose far end is itself: what goes through the tunnel comes back to what went through."""

    async def turn(self):
        self.wire = asyncio.Queue()
        while True:
            for packet in await self.packet_flow.read_packets():
                check(packet)
                self.wire.put_nowait(packet)


def test_a_connection_through_the_tunnel_comes_out_of_its_packets():
    async def scene(rig):
        provider = rig.provider
        connecting = asyncio.ensure_future(provider.create_tcp_connection_through_tunnel("198.51.100.7", 443))
        async with asyncio.timeout(60):
            syn = await provider.wire.get()
            assert socket.inet_ntoa(syn[12:16]) == "10.0.0.2"
            assert socket.inet_ntoa(syn[16:20]) == "198.51.100.7"
            assert int.from_bytes(syn[22:24], "big") == 443
            # A reset from there: the connection is refused, and the packet does not go to the device.
            ports = syn[22:24] + syn[20:22]
            body = bytearray(ports + bytes(4) + (int.from_bytes(syn[24:28], "big") + 1).to_bytes(4, "big"))
            body += b"\x50\x14\0\0\0\0\0\0"
            body[16:18] = transport_checksum(syn[16:20], syn[12:16], 6, bytes(body)).to_bytes(2, "big")
            head = bytearray(b"\x45\0\0\x28\0\0\0\0\x40\x06\0\0" + syn[16:20] + syn[12:16])
            head[10:12] = checksum(bytes(head)).to_bytes(2, "big")
            provider.packet_flow.write_packets([bytes(head + body)])
            with pytest.raises(ConnectionRefusedError):
                await connecting
        assert rig.session.statistics["packets_in"] == 0

    play(Host(), scene)


def test_datagrams_through_the_tunnel():
    async def scene(rig):
        provider = rig.provider
        session = await provider.create_udp_session_through_tunnel("192.0.2.1", 53)
        assert session.maximum_datagram_length == 1372
        await session.write_datagrams([b"question"])
        async with asyncio.timeout(60):
            packet = await provider.wire.get()
            assert packet.endswith(b"question")
            back = bytearray(turned(packet))
            back[20:24] = packet[22:24] + packet[20:22]
            provider.packet_flow.write_packets([bytes(back)])
            assert await session.read_datagrams() == [b"question"]
        session.cancel()
        with pytest.raises(OSError, match="closed"):
            await session.write_datagrams([b"x"])

    play(Host(), scene)


def test_without_an_address_nothing_goes_through():
    class Bare(Mirror):
        async def start_tunnel(self, options):
            pass

    async def scene(rig):
        with pytest.raises(OSError, match="no addresses yet"):
            await rig.provider.create_tcp_connection_through_tunnel("192.0.2.1", 1)

    play(Bare(), scene)


def test_packet_objects_know_their_family():
    assert Packet.of(b"\x45" + bytes(19)).protocol_family == socket.AF_INET
    assert Packet.of(b"\x60" + bytes(39)).protocol_family == socket.AF_INET6
