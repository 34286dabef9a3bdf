"""Packet tunnels beside a driver: what they say of themselves, and that one that ended is started again."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import pytest

from tunflow.errors import LocalError, RemoteError
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
    stopped: ProviderStopReason | None = None

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

    async def stop_tunnel(self, reason):
        self.stopped = reason


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


def watched(scene, on_trouble=lambda: None, make_reactor=Reactor):
    """Run a scene with the tunnels, one of which was opened."""
    reactor = make_reactor()
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


OTHER = Server(label="other", provider_configuration={"password": "another"})


def labels(tunnels):
    return [label for label, _, _ in tunnels.troubles()]


def test_another_plan_ends_what_it_does_not_name():
    async def scene(tunnels, outbound):
        await until(lambda: outbound.inner is not None)
        first = Moody.running
        with tunnels.another_plan():
            other = tunnels.open(OTHER, DirectOutbound())
        await until(lambda: first.stopped is not None)
        assert first.stopped is ProviderStopReason.SUPERSEDED
        await until(lambda: outbound.inner is None)
        await until(lambda: other.inner is not None)
        assert [each["label"] for each in await tunnels.facts()] == ["other"]

    watched(scene)


def test_what_goes_through_it_goes_on(monkeypatch):
    async def scene(tunnels, outbound):
        await until(lambda: outbound.inner is not None)
        first = Moody.running
        socket = outbound.inner.open_socket(lambda _: None)
        looks = 0

        async def look(_seconds):
            nonlocal looks
            looks += 1
            await sleep(0)

        sleep = asyncio.sleep
        monkeypatch.setattr(packet_tunnels.asyncio, "sleep", look)
        with tunnels.another_plan():
            tunnels.open(OTHER, DirectOutbound())
        while looks < 10:
            await sleep(0)
        assert first.stopped is None
        socket.close()
        while first.stopped is None:
            await sleep(0)

    watched(scene)


def test_one_that_is_named_again_before_its_end_stays():
    async def scene(tunnels, outbound):
        await until(lambda: outbound.inner is not None)
        first = Moody.running
        socket = outbound.inner.open_socket(lambda _: None)
        with tunnels.another_plan():
            other = tunnels.open(OTHER, DirectOutbound())
        await until(lambda: other.inner is not None)
        with tunnels.another_plan():
            assert tunnels.open(Server(), DirectOutbound()) is outbound
        socket.close()
        await until(lambda: Moody.running.stopped is not None)
        assert first.stopped is None
        assert outbound.inner is not None

    watched(scene)


def test_a_plan_that_fails_leaves_none_of_its_own_trying(monkeypatch):
    async def scene(tunnels, outbound):
        await until(lambda: outbound.inner is not None)
        first = Moody.running
        monkeypatch.setattr(Moody, "refuses", True)

        async def fails():
            with tunnels.another_plan():
                tunnels.open(OTHER, DirectOutbound())
                await until(lambda: labels(tunnels) == ["other"])
                raise LocalError("a wrong plan")

        with pytest.raises(LocalError):
            await fails()
        while tunnels.troubles():
            await asyncio.sleep(0)
        assert [each["label"] for each in await tunnels.facts()] == ["moody"]
        assert first.stopped is None
        assert outbound.inner is not None

    watched(scene)


def test_a_bug_is_a_failure_that_is_told_and_tried_again(monkeypatch):
    said = []
    real = packet_tunnels.HostServices

    def fails(*_):
        monkeypatch.setattr(packet_tunnels, "HostServices", real)
        raise ZeroDivisionError

    async def scene(tunnels, outbound):
        monkeypatch.setattr(packet_tunnels, "HostServices", fails)
        (failure,) = await tunnels.first_start()
        assert str(failure) == "moody: internal error"
        await until(lambda: outbound.inner is not None)

    watched(scene, make_reactor=lambda: Reactor.containing(said.append))
    (line,) = said
    assert "ZeroDivisionError" in line
    assert "the tunnel moody" in line
