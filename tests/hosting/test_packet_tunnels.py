"""Packet tunnels beside a driver: what they say of themselves, and that one that ended is started again."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import pytest

from tunflow.errors import RemoteError
from tunflow.hosting import packet_tunnels
from tunflow.hosting.packet_tunnels import PacketTunnels
from tunflow.loop.event_loop import ReactorLoop
from tunflow.loop.reactor import Reactor
from tunflow.loop.sockets import UNMARKED
from tunflow.outbound.direct import DirectOutbound
from tunflow.providers import IPv4Settings, PacketTunnelNetworkSettings, PacketTunnelProvider
from tunflow.providers.network_path import NetworkPath, PathStatus
from tunflow.providers.stop_reason import ProviderStopReason


class Moody(PacketTunnelProvider):
    """Starts when it wants to."""

    running: Moody | None = None
    refuses = False
    attempts = 0
    may_start: asyncio.Event | None = None
    """Its start lasts until then."""

    async def start_tunnel(self, options):
        Moody.attempts += 1
        if Moody.may_start is not None:
            await Moody.may_start.wait()
        if Moody.refuses:
            raise RemoteError("not today")
        four = IPv4Settings(["10.0.0.2/24"])
        await self.set_tunnel_network_settings(
            PacketTunnelNetworkSettings(tunnel_remote_address="x", ipv4_settings=four, mtu=1400)
        )
        Moody.running = self


@dataclass(frozen=True)
class Server:
    """A link to it."""

    label: str = "moody"
    first_hop: tuple[str, int] | None = None
    provider: str = f"{__name__}:Moody"
    provider_configuration: dict[str, object] = field(default_factory=dict)


async def until(condition):
    while not condition():
        await asyncio.sleep(0)


def watched(scene, on_trouble=lambda: None):
    """Run a scene with the tunnels, one of which was opened."""
    reactor = Reactor()
    Moody.running = None

    async def run():
        tunnels = PacketTunnels()
        outbound = tunnels.open(Server(), DirectOutbound())
        tunnels.start(reactor, lambda _: None, UNMARKED, on_trouble)
        try:
            async with asyncio.timeout(20):
                await scene(tunnels, outbound)
        finally:
            await tunnels.stop(ProviderStopReason.NONE)

    with asyncio.Runner(loop_factory=lambda: ReactorLoop(reactor)) as runner:
        runner.run(run())
    reactor.close()


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(packet_tunnels, "SOONEST", 0.001)
    monkeypatch.setattr(Moody, "refuses", False)


def test_what_troubles_a_provider_is_told_until_it_is_over():
    async def scene(tunnels, _outbound):
        await until(lambda: Moody.running is not None)
        assert tunnels.troubles() == []
        Moody.running.trouble = "nothing heard from 192.0.2.1"
        ((_, line, since),) = tunnels.troubles()
        assert line == "nothing heard from 192.0.2.1"
        assert abs(since - time.time()) < 10
        Moody.running.trouble = None
        assert tunnels.troubles() == []

    watched(scene)


def test_each_change_of_a_trouble_is_told():
    told = []

    async def scene(_tunnels, _outbound):
        await until(lambda: Moody.running is not None)
        told.clear()
        for line in ("nothing heard", "nothing heard", None, None):
            Moody.running.trouble = line
        assert len(told) == 2

    watched(scene, lambda: told.append(1))


def test_none_stands_before_it_has_started_and_that_is_told_too(monkeypatch):
    """Nobody knows yet why it is silent; a login page may be."""
    told = []

    async def scene(tunnels, outbound):
        monkeypatch.setattr(Moody, "may_start", asyncio.Event())
        attempts = Moody.attempts
        assert (len(told), tunnels.all_stand) == (1, False)
        await until(lambda: Moody.attempts > attempts)
        assert (len(told), tunnels.all_stand, tunnels.troubles()) == (1, False, [])
        Moody.may_start.set()
        await until(lambda: tunnels.all_stand)
        assert (len(told), outbound.inner is None) == (2, False)
        Moody.running.trouble = "nothing heard from 192.0.2.1"
        assert not tunnels.all_stand
        Moody.running.trouble = None
        assert tunnels.all_stand

    watched(scene, lambda: told.append(1))


def test_one_that_does_not_start_is_tried_at_once_on_another_path(monkeypatch):
    monkeypatch.setattr(Moody, "refuses", True)
    monkeypatch.setattr(packet_tunnels, "SOONEST", 60.0)

    async def scene(tunnels, outbound):
        await until(tunnels.troubles)
        monkeypatch.setattr(Moody, "refuses", False)
        tunnels.path_changed(NetworkPath(PathStatus.SATISFIED))
        await until(lambda: outbound.inner is not None)

    watched(scene)


def test_one_that_is_still_failing_is_tried_at_once_on_another_path(monkeypatch):
    monkeypatch.setattr(Moody, "refuses", True)
    monkeypatch.setattr(packet_tunnels, "SOONEST", 60.0)

    async def scene(tunnels, outbound):
        monkeypatch.setattr(Moody, "may_start", asyncio.Event())
        attempts = Moody.attempts
        await until(lambda: Moody.attempts > attempts)
        tunnels.path_changed(NetworkPath(PathStatus.SATISFIED))
        Moody.may_start.set()
        await until(tunnels.troubles)
        monkeypatch.setattr(Moody, "refuses", False)
        await until(lambda: outbound.inner is not None)

    watched(scene)


def test_one_that_does_not_start_is_a_trouble_until_it_does(monkeypatch):
    monkeypatch.setattr(Moody, "refuses", True)

    async def scene(tunnels, outbound):
        await until(tunnels.troubles)
        ((label, line, since),) = tunnels.troubles()
        assert line.startswith("moody: ")
        assert "not today" in line
        attempts = Moody.attempts
        await until(lambda: Moody.attempts > attempts + 1)
        assert tunnels.troubles() == [(label, line, since)]
        monkeypatch.setattr(Moody, "refuses", False)
        await until(lambda: outbound.inner is not None)
        assert tunnels.troubles() == []

    watched(scene)


def test_one_that_ends_says_why_and_starts_again():
    async def scene(tunnels, outbound):
        await until(lambda: outbound.inner is not None)
        first = Moody.running
        Moody.refuses = True
        first.cancel_tunnel(RemoteError("the key is too old"))
        await until(tunnels.troubles)
        assert outbound.inner is None
        Moody.refuses = False
        await until(lambda: outbound.inner is not None)
        assert Moody.running is not first
        assert tunnels.troubles() == []

    watched(scene)
