"""A provider's life: how it starts, fails, is contained, and ends."""

from __future__ import annotations

import asyncio
import os

import pytest

from tunflow.endpoint import endpoint
from tunflow.errors import LocalError, RemoteError
from tunflow.hosting.services import ProviderFailed
from tunflow.hosting.session import HostServices, ProviderSession
from tunflow.hosting.watchdog import ProviderHung, Watchdog
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.event_loop import ReactorLoop
from tunflow.loop.reactor import Reactor
from tunflow.providers import (
    AppProxyProvider,
    IPv4Settings,
    NetworkPath,
    PacketTunnelNetworkSettings,
    PacketTunnelProvider,
    PathStatus,
    Provider,
    ProviderStopReason,
    TunnelNetworkSettings,
    TunnelProviderError,
    TunnelProviderErrorCode,
    TunnelProviderProtocol,
)
from tunflow.providers.openconnect import OpenConnectProvider
from tunflow.testing.provider_rig import ProviderRig, play

SETTINGS = PacketTunnelNetworkSettings(tunnel_remote_address="x", ipv4_settings=IPv4Settings(["10.0.0.2/24"]))


class Tunnel(PacketTunnelProvider):
    """Comes up; the test changes the rest."""

    def __init__(self):
        self.stopped = []

    async def start_tunnel(self, options):
        self.options = options
        await self.set_tunnel_network_settings(SETTINGS)

    async def stop_tunnel(self, reason):
        self.stopped.append(reason)


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0)


def start(provider, **surroundings):
    """Start and stop; what was logged."""

    async def scene(rig):
        pass

    return play(provider, scene, **surroundings)


def test_it_starts_and_stops_as_told():
    applied = []

    async def apply(settings):
        applied.append(settings)

    async def scene(rig):
        assert rig.provider.options is None
        assert rig.provider.protocol_configuration.provider_configuration["key"] == "value"
        await rig.session.stop(ProviderStopReason.USER_INITIATED)
        await rig.session.stop(ProviderStopReason.USER_INITIATED)  # once more changes nothing

    rig = play(Tunnel(), scene, apply=apply, configuration=TunnelProviderProtocol({"key": "value"}))
    assert rig.provider.stopped == [ProviderStopReason.USER_INITIATED]
    assert rig.statuses == ["CONNECTING", "CONNECTED", "DISCONNECTING", "DISCONNECTED"]
    assert applied == [SETTINGS, None]


class Raises(Tunnel):
    async def start_tunnel(self, options):
        raise ValueError("no such server")


class Exits(Tunnel):
    async def start_tunnel(self, options):
        raise SystemExit(3)


class NotAsync(Tunnel):
    def start_tunnel(self, options):
        pass


class WaitsForEver(Tunnel):
    async def start_tunnel(self, options):
        await self._deeper()

    async def _deeper(self):
        await asyncio.Event().wait()


class Stubborn(Tunnel):
    async def start_tunnel(self, options):
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.Event().wait()
                return


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        (Raises, ["start_tunnel failed: ValueError: no such server", "test_provider_session.py:"]),
        (Exits, ["start_tunnel failed: RuntimeError: SystemExit: 3", "test_provider_session.py:"]),
        (NotAsync, ["start_tunnel must be an `async def`"]),
        (WaitsForEver, ["start_tunnel has not returned in 0.1 s; it waits at", "test_provider_session.py:"]),
        (Stubborn, ["start_tunnel has not returned in 0.1 s"]),
        (PacketTunnelProvider, ["has no start_tunnel"]),
        (AppProxyProvider, []),
    ],
)
def test_what_keeps_it_from_starting_is_told_with_its_place(kind, parts):
    if not parts:
        assert start(kind()).statuses == ["CONNECTING", "CONNECTED"]
        return
    with pytest.raises(ProviderFailed) as caught:
        start(kind(), start_timeout=0.1)
    for part in (kind.__name__, *parts):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_set_wrongly_is_the_users_fault():
    class Wants(Tunnel):
        async def start_tunnel(self, options):
            raise LocalError("provider_configuration: server is missing")

    with pytest.raises(LocalError, match=r"Wants: provider_configuration: server is missing$"):
        start(Wants())


def test_our_own_providers_are_known_by_their_links():
    with pytest.raises(LocalError, match=r"^provider_configuration: link is expected"):
        start(OpenConnectProvider())


def test_what_our_own_providers_foresaw_is_told_without_their_names():
    class Refused(Tunnel):
        async def start_tunnel(self, options):
            raise RemoteError("openconnect://vpn.example:443: wrong password")

    with pytest.raises(ProviderFailed, match=r"provider .*Refused: start_tunnel failed: RemoteError: openconnect:"):
        start(Refused())
    Refused.__module__ = OpenConnectProvider.__module__
    with pytest.raises(ProviderFailed, match=r"^openconnect://vpn\.example:443: wrong password$"):
        start(Refused())


def until_idle(watchdog):
    while not watchdog.is_idle:
        os.sched_yield()


def test_a_provider_that_hangs_without_awaiting_is_interrupted():
    class Hangs(Tunnel):
        async def start_tunnel(self, options):
            while True:
                pass

    lines = []
    reactor = Reactor()

    async def scene():
        watchdog = Watchdog(reactor, lines.append, limit=0.2)
        try:
            rig = ProviderRig(Hangs(), reactor)
            with pytest.raises(ProviderFailed) as caught:
                await rig.start()
            assert "ProviderHung" in str(caught.value)
            assert "test_provider_session.py:" in str(caught.value)
            await asyncio.to_thread(until_idle, watchdog)  # a loop that waits is no hang
        finally:
            watchdog.close()

    with asyncio.Runner(loop_factory=lambda: ReactorLoop(reactor)) as runner:
        runner.run(scene())
    reactor.close()
    (line,) = lines
    assert "hangs at" in line
    assert "test_provider_session.py:" in line
    assert not issubclass(ProviderHung, Exception)


def test_a_proxy_that_hangs_is_over_and_nothing_goes_around_it():
    class Hangs(AppProxyProvider):
        def handle_new_flow(self, flow):
            while True:
                pass

    async def scene(rig):
        watchdog = Watchdog(rig.reactor, rig.lines.append, limit=0.2)
        try:
            for _ in range(2):
                with pytest.raises(ConnectionRefusedError):
                    await rig.connect(endpoint("192.0.2.1", 80))
        finally:
            watchdog.close()
        await until(lambda: rig.ends)

    rig = play(Hangs(), scene)
    assert rig.statuses[-1] == "DISCONNECTED"
    assert "handle_new_flow failed: ProviderHung" in rig.ends[0]


def test_a_failed_task_of_a_packet_tunnel_ends_it():
    class Breaks(Tunnel):
        async def start_tunnel(self, options):
            await super().start_tunnel(options)
            self.create_task(self.work(), name="work")

        async def work(self):
            await self.packet_flow.read_packets()
            raise RuntimeError("server gone")

    async def scene(rig):
        connecting = asyncio.ensure_future(rig.connect(endpoint("192.0.2.1", 80)))
        await until(lambda: rig.ends)
        connecting.cancel()

    rig = play(Breaks(), scene)
    assert rig.statuses[-1] == "DISCONNECTED"
    assert rig.provider.stopped == []
    (end,) = rig.ends
    assert "work failed: RuntimeError: server gone" in end
    assert rig.lines == [end]


def test_cancelling_ends_the_tunnel_without_stop_tunnel():
    async def scene(rig):
        rig.provider.cancel_tunnel(ConnectionError("lost"))
        await until(lambda: rig.ends)
        with pytest.raises(EOFError):
            await rig.provider.packet_flow.read_packets()
        assert not rig.provider.packet_flow.write_packets([bytes(20)])

    rig = play(Tunnel(), scene)
    assert rig.provider.stopped == []
    assert "ended the tunnel: ConnectionError: lost" in rig.ends[0]
    assert rig.statuses[-1] == "DISCONNECTED"


def test_settings_that_the_system_refuses():
    async def refuse(settings):
        raise LocalError("mtu: too large")

    with pytest.raises(ProviderFailed, match="TunnelProviderError: mtu: too large"):
        start(Tunnel(), apply=refuse)

    async def scene(rig):
        with pytest.raises(TunnelProviderError) as caught:
            await rig.provider.set_tunnel_network_settings(TunnelNetworkSettings(tunnel_remote_address="x"))
        assert caught.value.code is TunnelProviderErrorCode.NETWORK_SETTINGS_INVALID

    play(Tunnel(), scene)


def test_reasserting_only_while_connected():
    class Reasserts(Tunnel):
        async def start_tunnel(self, options):
            self.reasserting = True
            assert not self.reasserting

    async def scene(rig):
        rig.provider.reasserting = True
        assert rig.provider.reasserting
        rig.provider.reasserting = False

    assert play(Reasserts(), scene).statuses == ["CONNECTING", "CONNECTED", "REASSERTING", "CONNECTED"]


def test_messages():
    class Answers(Tunnel):
        async def handle_app_message(self, data):
            if data == b"raise":
                raise KeyError(data)
            return {b"ping": b"pong", b"bad": 7}.get(data)

    async def scene(rig):
        assert await rig.session.send_message(b"ping") == b"pong"
        assert await rig.session.send_message(b"other") is None
        for data in (b"bad", b"raise"):
            with pytest.raises(ProviderFailed):
                await rig.session.send_message(data)
        await rig.session.stop(ProviderStopReason.NONE)
        with pytest.raises(LocalError):
            await rig.session.send_message(b"ping")

    play(Answers(), scene)


def test_changes_of_the_path_and_sleep():
    class Watches(Tunnel):
        seen = None
        slept = woken = False

        async def start_tunnel(self, options):
            self.seen = []
            self.create_task(self.watch())

        async def watch(self):
            async for path in self.default_path_changes():
                self.seen.append(path.interface)

        async def sleep(self):
            self.slept = True

        def wake(self):
            raise ValueError("bad dream")

    async def scene(rig):
        await asyncio.sleep(0)
        for name in ("eth0", "eth0", "wlan0"):
            rig.session.path_changed(NetworkPath(PathStatus.SATISFIED, name))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert rig.provider.seen == ["eth0", "wlan0"]
        assert rig.provider.default_path.interface == "wlan0"
        for name in ("a", "b", "c"):  # faster than it looks: the last one counts
            rig.session.path_changed(NetworkPath(PathStatus.SATISFIED, name))
        await until(lambda: rig.provider.seen[-1] == "c")
        assert len(rig.provider.seen) <= 4
        await rig.session.sleep()
        rig.session.wake()
        assert rig.provider.slept

    assert "wake failed: ValueError: bad dream" in play(Watches(), scene).lines[0]


def test_changes_of_the_path_count_from_when_they_were_asked_for():
    class Watches(Tunnel):
        async def start_tunnel(self, options):
            self.changes = self.default_path_changes()

    async def scene(rig):
        rig.session.path_changed(NetworkPath(PathStatus.SATISFIED, "wlan0"))
        assert (await anext(rig.provider.changes)).interface == "wlan0"
        await rig.provider.changes.aclose()

    play(Watches(), scene)


def test_tasks_end_with_the_provider():
    class Works(Tunnel):
        async def start_tunnel(self, options):
            self.task = self.create_task(asyncio.Event().wait())

    async def scene(rig):
        await rig.session.stop(ProviderStopReason.USER_INITIATED)
        assert rig.provider.task.cancelled()

    play(Works(), scene)


def test_a_stop_that_fails_or_hangs_does_not_keep_it():
    class Fails(Tunnel):
        async def stop_tunnel(self, reason):
            raise ValueError("not now")

    async def scene(rig):
        await rig.session.stop(ProviderStopReason.USER_INITIATED)

    rig = play(Fails(), scene)
    assert rig.statuses[-1] == "DISCONNECTED"
    assert "stop_tunnel failed: ValueError: not now" in rig.lines[0]


def test_a_plain_provider_is_of_no_use():
    reactor = Reactor()
    with pytest.raises(LocalError, match="no packet tunnel"):
        ProviderSession(Provider(), HostServices(reactor, CauseLog(print, lambda: 0.0)))
    reactor.close()


def test_what_is_not_running_says_so():
    with pytest.raises(LocalError, match="is not running"):
        _ = Tunnel().packet_flow
