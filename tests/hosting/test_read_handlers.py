"""Functions that a provider gives for what arrives: called at once, awaited where they ask for it, and its failure."""

from __future__ import annotations

import asyncio
import errno
import socket

import pytest

from tunflow.endpoint import endpoint
from tunflow.hosting.outside import SocketUDPSession
from tunflow.loop.event_loop import ReactorLoop
from tunflow.loop.reactor import Reactor
from tunflow.providers import IPv4Route, IPv4Settings, PacketTunnelNetworkSettings, PacketTunnelProvider
from tunflow.testing.provider_rig import play

SETTINGS = PacketTunnelNetworkSettings(
    tunnel_remote_address="x",
    ipv4_settings=IPv4Settings(["10.0.0.2/24"], included_routes=[IPv4Route.default()]),
    mtu=1400,
)
TARGET = endpoint("192.0.2.1", 7)


class Taker(PacketTunnelProvider):
    """Takes what programs send, in calls; `waits` is what the next calls give back."""

    def __init__(self, *waits):
        self.calls = []
        self.waits = list(waits)
        self.failure = None

    async def start_tunnel(self, options):
        await self.set_tunnel_network_settings(SETTINGS)
        self.packet_flow.set_read_handler(self.take)

    def take(self, packets):
        self.calls.append([packet[28:] for packet in packets])
        if self.failure is not None:
            raise self.failure
        return self.waits.pop(0)() if self.waits else None


async def until(holds):
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0)


async def rounds():
    """So many that what could happen has."""
    for _ in range(50):
        await asyncio.sleep(0)


def test_packets_are_handed_over_and_what_is_given_back_is_awaited():
    room = asyncio.Event()
    provider = Taker(room.wait)

    async def scene(rig):
        udp = await rig.open_udp(TARGET)
        await udp.write_datagrams([b"first"])
        await until(lambda: provider.calls)
        await udp.write_datagrams([b"second"])
        await udp.write_datagrams([b"third"])
        own = await provider.create_udp_session_through_tunnel(TARGET)
        await own.write_datagrams([b"own"])
        await rounds()
        assert provider.calls == [[b"first"]]
        room.set()
        await until(lambda: sum(map(len, provider.calls)) == 4)
        assert sorted(packet for call in provider.calls for packet in call) == [b"first", b"own", b"second", b"third"]
        assert rig.session.statistics["packets_out"] == 4

    rig = play(provider, scene)
    assert rig.lines == rig.ends == []


async def unreachable():
    raise OSError(errno.ENETUNREACH, "as on any wire")


async def broken():
    raise ValueError("a bug")


def test_an_error_of_the_way_out_ends_nothing():
    provider = Taker(unreachable)

    async def scene(rig):
        udp = await rig.open_udp(TARGET)
        for count in (1, 2):
            await udp.write_datagrams([b"x"])
            await until(lambda count=count: len(provider.calls) == count)

    assert play(provider, scene).ends == []


@pytest.mark.parametrize("awaited", [False, True])
def test_what_a_handler_raises_ends_the_tunnel(awaited):
    provider = Taker(*[broken] * awaited)
    if not awaited:
        provider.failure = ValueError("a bug")

    async def scene(rig):
        udp = await rig.open_udp(TARGET)
        await udp.write_datagrams([b"x"])
        await until(lambda: rig.ends)
        await udp.write_datagrams([b"x"])
        await rounds()

    rig = play(provider, scene)
    assert len(provider.calls) == 1
    assert "read handler failed: ValueError: a bug" in rig.ends[0]


class Hearer(PacketTunnelProvider):
    """A session with a socket of the test's."""

    def __init__(self, port):
        self.port = port
        self.heard = []

    async def start_tunnel(self, options):
        await self.set_tunnel_network_settings(SETTINGS)
        self.session = await self.create_udp_session("127.0.0.1", self.port)
        self.session.set_read_handler(self.hear)

    def hear(self, datagrams):
        self.heard += datagrams
        if b"bug" in datagrams:
            raise ValueError("a bug")


def test_datagrams_are_handed_over():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        far.bind(("127.0.0.1", 0))
        provider = Hearer(far.getsockname()[1])
        sent = [b"alone", *(bytes([number]) * (100 + number) for number in range(20))]

        async def scene(rig):
            far.connect(("127.0.0.1", provider.session.local_address.port))
            for datagram in sent:
                far.send(datagram)
                if datagram == b"alone":
                    await until(lambda: provider.heard)
            await until(lambda: len(provider.heard) == len(sent))
            assert provider.heard == sent
            assert provider.session.write_at_once([b"back"]) == 1
            assert far.recv(100) == b"back"
            far.send(b"bug")
            await until(lambda: rig.ends)

        rig = play(provider, scene)
    assert "read handler failed: ValueError: a bug" in rig.ends[0]


def test_what_icmp_says_of_what_was_sent_is_passed_over():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        far.bind(("127.0.0.1", 0))
        place = far.getsockname()
    provider = Hearer(place[1])

    async def scene(rig):
        provider.session.write_at_once([b"to nobody"])
        await rounds()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
            far.bind(place)
            far.sendto(b"here", ("127.0.0.1", provider.session.local_address.port))
            await until(lambda: provider.heard)
        provider.session.cancel()
        with pytest.raises(OSError, match="closed"):
            provider.session.write_at_once([b"x"])
        with pytest.raises(OSError, match="closed"):
            provider.session.set_read_handler(provider.hear)

    assert play(provider, scene).ends == []


def test_datagrams_through_the_tunnel_are_handed_over():
    class Mirror(Taker):
        def take(self, packets):
            for packet in packets:
                back = bytearray(packet)
                back[12:20] = packet[16:20] + packet[12:16]
                back[20:24] = packet[22:24] + packet[20:22]
                self.packet_flow.write_packets([bytes(back)])

    provider = Mirror()
    heard: list[bytes] = []

    async def scene(rig):
        session = await provider.create_udp_session_through_tunnel(TARGET)
        await session.write_datagrams([b"early"])
        await rounds()
        session.set_read_handler(heard.extend)
        assert session.write_at_once([b"one", b"two"]) == 2
        await until(lambda: len(heard) == 3)
        assert heard == [b"early", b"one", b"two"]

    assert play(provider, scene).ends == []


def test_a_full_socket_is_waited_for_beside_a_handler():
    reactor = Reactor()
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    datagrams = [b"x" * 40_000] * 1000  # too large to be joined
    heard: list[bytes] = []
    got: list[bytes] = []

    async def scene():
        session = SocketUDPSession(reactor, near, heard.append)
        session.set_read_handler(heard.extend)
        sent = session.write_at_once(datagrams)
        assert 0 < sent < len(datagrams)
        rest = asyncio.ensure_future(session.write_datagrams(datagrams[sent:]))
        far.send(b"meanwhile")
        await until(lambda: heard)
        assert not rest.done()
        while len(got) < len(datagrams):
            await asyncio.sleep(0)
            try:
                got.append(far.recv(65536, socket.MSG_DONTWAIT))
            except BlockingIOError:
                continue
        await rest
        far.send(b"after")
        await until(lambda: len(heard) == 2)
        session.cancel()

    near.setblocking(False)
    with asyncio.Runner(loop_factory=lambda: ReactorLoop(reactor)) as runner, far:
        runner.run(scene())
    reactor.close()
    assert len(got) == len(datagrams)
    assert heard == [b"meanwhile", b"after"]
