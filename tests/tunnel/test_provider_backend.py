"""A tunnel through a provider where the network changes while it starts: without a host, on the real loop."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from memory_host import MemoryHost, NamedUplink

from tunflow.loop.event_loop import ReactorLoop
from tunflow.loop.reactor import Reactor
from tunflow.profiles.file import parse
from tunflow.providers import IPv4Settings, PacketTunnelNetworkSettings, PacketTunnelProvider
from tunflow.providers.network_path import NetworkPath, PathStatus
from tunflow.providers.stop_reason import ProviderStopReason
from tunflow.tunnel.assemble import ServingContext
from tunflow.tunnel.compile import compile_profile
from tunflow.tunnel.engine import Engine
from tunflow.tunnel.process_filter import ProcessFilter
from tunflow.tunnel.provider_backend import ProviderBackend
from tunflow.tunnel.tunnel_interface import TunnelContext, TunnelInterface


class Office(PacketTunnelProvider):
    """Writes down where it is; while it starts, the network becomes `then`."""

    super_packets = True
    finder: NamedUplink
    then = ""
    seen: asyncio.Queue[str | None]

    async def start_tunnel(self, options: Any) -> None:
        self.create_task(self.follow(self.default_path_changes()))
        self.seen.put_nowait(self.default_path.interface)
        self.finder.interface = self.then
        await self.set_tunnel_network_settings(
            PacketTunnelNetworkSettings(tunnel_remote_address="192.0.2.1", ipv4_settings=IPv4Settings(["10.99.0.2/32"]))
        )

    async def follow(self, changes: Any) -> None:
        async for path in changes:
            self.seen.put_nowait(path.interface)


class Interface(TunnelInterface):
    """Of that host, on the network that the finder finds."""

    async def network_path(self) -> NetworkPath:
        assert isinstance(self.finder, NamedUplink)
        return NetworkPath(PathStatus.SATISFIED, self.finder.interface)

    def watch(self, woke: object) -> None:
        """Nothing changes any more."""

    def device_is_gone(self) -> bool:
        return False


def started(then: str, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str | None], list[str], bool]:
    """Where a provider saw itself whose network became `then`; what people are told; whether there was another look."""
    monkeypatch.setattr(Office, "then", then)
    monkeypatch.setattr(Office, "finder", NamedUplink(), raising=False)
    monkeypatch.setattr(Office, "seen", asyncio.Queue(), raising=False)
    reactor, said, found = Reactor(), list[str](), list[str | None]()
    profile = parse(f'provider = "{__name__}:Office"\n', "p.toml")
    plan = compile_profile(profile)

    async def run() -> bool:
        serving = ServingContext(reactor, said.append, ProcessFilter(reactor, said.append))
        interface = Interface(plan, TunnelContext(MemoryHost(), list, serving))
        interface.finder = Office.finder
        engine = Engine(plan, interface, ProviderBackend(plan, profile, interface))
        await engine.start()
        looks = interface.look_again.is_set()
        async with asyncio.timeout(30):
            while then not in found:
                found.append(await Office.seen.get())
        await engine.stop(ProviderStopReason.USER_INITIATED)
        return looks

    with asyncio.Runner(loop_factory=lambda: ReactorLoop(reactor)) as runner:
        looks = runner.run(run())
    reactor.close()
    return found, said, looks


def test_a_change_while_it_started_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    found, said, _ = started("eth0", monkeypatch)
    assert found == ["wlan0", "eth0"]
    assert "the network changed: eth0" in said


def test_nobody_looks_again_where_nothing_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    found, said, looks = started("wlan0", monkeypatch)
    assert found == ["wlan0"]
    assert said == ["stopping: user initiated"]
    assert not looks
