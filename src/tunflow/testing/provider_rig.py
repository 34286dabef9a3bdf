"""A provider in memory: programs' connections on one side, the provider's own on loopback; no device, no root.

    def test_my_provider():
        async def scene(rig):
            stream = await rig.connect(endpoint("192.0.2.1", 80))
            await stream.write(b"hello")
            assert await stream.read() == b"hello"

        play(MyProvider(), scene)

`rig.connect` and `rig.open_udp` are what a program on the machine would do; `rig.lines` is what tunflow logged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tunflow.dataplane.admission import Admission
from tunflow.dataplane.context import FlowContext
from tunflow.dataplane.driver import Driver
from tunflow.endpoint import Endpoint
from tunflow.host.memory import memory_pair
from tunflow.hosting.session import HostServices, ProviderSession
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.event_loop import ReactorLoop
from tunflow.loop.reactor import Reactor
from tunflow.outbound.direct import DirectOutbound
from tunflow.providers import (
    IPv4Settings,
    IPv6Settings,
    PacketTunnelNetworkSettings,
    PacketTunnelProvider,
    Provider,
    TCPConnection,
    UDPSession,
)

_SETTINGS = PacketTunnelNetworkSettings(
    tunnel_remote_address="test",
    ipv4_settings=IPv4Settings(["198.18.0.1/30"]),
    ipv6_settings=IPv6Settings(["fd00::1/64"]),
    mtu=1500,
)


class ProviderRig:
    """A provider, a client in front of it, and a memory device between them."""

    def __init__(self, provider: Provider, reactor: Reactor, **surroundings: Any) -> None:
        """`surroundings` are fields of `HostServices`: `configuration`, `path`, `apply` and so on."""
        self.provider = provider
        self.lines: list[str] = []
        """What was logged."""
        self.ends: list[str | None] = []
        """Why the tunnel ended by itself, if it did."""
        self.statuses: list[str] = []
        """Every status that it had."""
        self.reactor = reactor
        log = CauseLog(self.lines.append, lambda: reactor.now)
        self.session = ProviderSession(
            provider,
            HostServices(reactor, log, **surroundings),
            on_status=lambda status: self.statuses.append(status.name),
            on_end=self.ends.append,
        )
        self.device, self._wire = memory_pair(vnet=True)
        self._client = _Client()
        self._client_session = ProviderSession(self._client, HostServices(reactor, log))
        self.driver: Driver | None = None
        """What serves a proxy's flows; None for a packet tunnel."""
        if self.session.policy is not None:
            context = FlowContext.on(reactor, self.device, log)
            self.driver = Driver(context, Admission(context, DirectOutbound(), policy=self.session.policy))

    async def start(self, options: Mapping[str, Any] | None = None) -> None:
        """Start the provider. Raises ProviderFailed."""
        await self.session.start(options)
        if self.session.policy is None:
            self.session.attach_device(self.device)
        await self._client_session.start()
        self._client_session.attach_device(self._wire)

    async def connect(self, target: Endpoint) -> TCPConnection:
        """A program's TCP connection. Raises OSError as its socket would."""
        return await self._client.create_tcp_connection_through_tunnel(target)

    async def open_udp(self, target: Endpoint) -> UDPSession:
        """A program's UDP socket."""
        return await self._client.create_udp_session_through_tunnel(target)

    def close(self) -> None:
        """Give back all descriptors; nothing can be carried any more."""
        if self.driver is not None:
            self.driver.close()
        self.device.close()
        self._wire.close()

    def reset_programs(self) -> None:
        """Every program's TCP connection is reset by its program."""
        self._client_session.tunnel().reset_all()


class _Client(PacketTunnelProvider):
    """The programs: connections "through" this tunnel go to the wire, and what comes from there to them."""

    async def start_tunnel(self, options: Mapping[str, Any] | None) -> None:  # noqa: ARG002
        await self.set_tunnel_network_settings(_SETTINGS)
        self.create_task(self._move())

    async def _move(self) -> None:
        while True:
            self.packet_flow.write_packets(await self.packet_flow.read_packets())


def play(
    provider: Provider, scene: Callable[[ProviderRig], Awaitable[None]], *, seconds: float = 20, **surroundings: Any
) -> ProviderRig:
    """Start the provider, run the scene on a loop of its own, give back the rig to look at."""
    reactor = Reactor()
    rig = ProviderRig(provider, reactor, **surroundings)

    async def run() -> None:
        await rig.start()
        async with asyncio.timeout(seconds):
            await scene(rig)

    try:
        with asyncio.Runner(loop_factory=lambda: ReactorLoop(reactor)) as runner:
            runner.run(run())
    finally:
        rig.close()
        reactor.close()
    return rig
