"""A packet tunnel that is a way out for flows while its provider opens connections through it, too: one host inside."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from tunflow.endpoint import endpoint
from tunflow.hosting.packet_tunnels import PacketTunnels
from tunflow.loop.event_loop import ReactorLoop
from tunflow.loop.reactor import Reactor
from tunflow.loop.sockets import UNMARKED
from tunflow.outbound.client import carrier_on
from tunflow.outbound.direct import DirectOutbound
from tunflow.providers import IPv4Settings, PacketTunnelNetworkSettings, PacketTunnelProvider
from tunflow.providers.stop_reason import ProviderStopReason
from tunflow.testing.provider_rig import play
from tunflow.wire import protocols

FAR = endpoint("192.0.2.1", 53)


def settings(address: str = "10.0.0.2/24") -> PacketTunnelNetworkSettings:
    return PacketTunnelNetworkSettings(tunnel_remote_address="x", ipv4_settings=IPv4Settings([address]), mtu=1400)


class Echo(PacketTunnelProvider):
    """Its far end sends each datagram back to whom it came from, and answers no SYN."""

    running: Echo

    async def start_tunnel(self, options):
        self.syns = []
        Echo.running = self
        await self.set_tunnel_network_settings(settings())
        self.create_task(self.turn())

    async def turn(self):
        while True:
            for packet in await self.packet_flow.read_packets():
                if packet[9] == protocols.UDP:
                    back = packet[:12] + packet[16:20] + packet[12:16] + packet[22:24] + packet[20:22] + packet[24:]
                    self.packet_flow.write_packets([back])
                else:
                    self.syns.append(packet[20:24])


@dataclass(frozen=True)
class Server:
    """A link to it."""

    label: str = "echo"
    first_hop: tuple[str, int] | None = None
    provider: str = f"{__name__}:Echo"
    provider_configuration: dict[str, object] = field(default_factory=dict)


def carried(scene):
    """Run a scene with the outbound of the tunnel, which stands."""
    reactor = Reactor()
    lines: list[str] = []

    async def run():
        tunnels = PacketTunnels()
        outbound = tunnels.open(Server(), DirectOutbound())
        tunnels.start(reactor, lines.append, UNMARKED)
        try:
            async with asyncio.timeout(20):
                while outbound.inner is None:
                    await asyncio.sleep(0)
                await scene(outbound, Echo.running)
        finally:
            await tunnels.stop(ProviderStopReason.NONE)

    with asyncio.Runner(loop_factory=lambda: ReactorLoop(reactor)) as runner:
        runner.run(run())
    reactor.close()
    assert lines == []


def test_datagrams_of_a_flow_and_of_the_provider_do_not_meet():
    async def scene(outbound, provider):
        got = []
        session = await provider.create_udp_session_through_tunnel("192.0.2.1", 53)
        way = outbound.datagrams().open(got.extend)
        await session.write_datagrams([b"own"])
        way.send(FAR, [b"flow"])
        assert await session.read_datagrams() == [b"own"]
        while not got:
            await asyncio.sleep(0)
        assert [bytes(datagram.payload) for datagram in got] == [b"flow"]
        session.cancel()
        way.close()

    carried(scene)


def test_connections_of_a_flow_and_of_the_provider_have_ports_of_their_own():
    async def scene(outbound, provider):
        own = asyncio.ensure_future(provider.create_tcp_connection_through_tunnel("192.0.2.1", 53))
        cancel = outbound.stream(FAR).dial(lambda _conduit, _error: None, carrier_on(outbound.reactor, UNMARKED))
        while len(provider.syns) < 2:
            await asyncio.sleep(0)
        assert len(set(provider.syns)) == 2
        cancel()
        own.cancel()

    carried(scene)


def test_a_port_that_is_asked_for_is_free_or_refused():
    async def scene(outbound, provider):
        session = await provider.create_udp_session_through_tunnel("192.0.2.1", 53, local=endpoint("0.0.0.0", 500))
        assert session.local_address == endpoint("10.0.0.2", 500)
        with pytest.raises(OSError, match="no free port"):
            await provider.create_udp_session_through_tunnel("192.0.2.2", 53, local=endpoint("0.0.0.0", 500))
        session.cancel()
        await provider.create_udp_session_through_tunnel("192.0.2.2", 53, local=endpoint("0.0.0.0", 500))

    carried(scene)


@pytest.mark.parametrize(("address", "is_reset"), [("10.0.0.2/24", False), ("10.0.0.3/24", True)])
def test_other_addresses_reset_what_the_provider_opened(address, is_reset):
    """For the machine's programs, and for flows."""

    async def look(provider):
        connecting = asyncio.ensure_future(provider.create_tcp_connection_through_tunnel("192.0.2.1", 53))
        while not provider.syns:
            await asyncio.sleep(0)
        await provider.set_tunnel_network_settings(settings(address))
        for _ in range(5):
            await asyncio.sleep(0)
        assert connecting.done() is is_reset
        if is_reset:
            with pytest.raises(ConnectionRefusedError):
                await connecting
        connecting.cancel()

    async def scene(_outbound, provider):
        await look(provider)

    async def programs(rig):
        await look(rig.provider)

    carried(scene)
    play(Echo(), programs)
