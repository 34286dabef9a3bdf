"""What is told of a tunnel that comes and goes by its on-demand rules."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from tunflow.host.network.settings import HostSettings
from tunflow.profiles.file import parse
from tunflow.providers.stop_reason import ProviderStopReason
from tunflow.tunnel.compile import compile_profile
from tunflow.tunnel.on_demand import DemandedTunnel
from tunflow.tunnel.plan import Plan
from tunflow.tunnel.tunnel import Tunnel

PROFILE = """
server = "socks5://192.0.2.1"
[on_demand]
rules = [{ action = "connect" }]
"""


class SlowTunnel:
    """Is up at once, and goes when it is let."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.may_go = asyncio.Event()

    async def start(self) -> None:
        pass

    async def stop(self, reason: ProviderStopReason, *, keep: bool = False) -> None:
        await self.may_go.wait()

    def status(self) -> dict[str, Any]:
        return {"status": "connected"}


class OpenHost:
    settings: HostSettings | None = None

    def apply(self, settings: HostSettings) -> None:
        self.settings = settings

    def undo(self) -> None:
        self.settings = None

    def stay(self, *, closed: bool) -> None:
        pass


def test_it_is_disconnected_when_the_host_is_as_it_was_and_not_before() -> None:
    async def states() -> list[str]:
        plan: Plan = compile_profile(parse(PROFILE, "p.toml"))
        slow = SlowTunnel()
        tunnel = DemandedTunnel(plan, lambda _: cast(Tunnel, slow), OpenHost(), list, lambda _: None)
        await tunnel.connect()
        seen = [tunnel.status()["status"]]
        going = asyncio.create_task(tunnel.disconnect())
        await asyncio.sleep(0)
        seen.append(tunnel.status()["status"])
        slow.may_go.set()
        await going
        return [*seen, tunnel.status()["status"]]

    assert asyncio.run(states()) == ["connected", "disconnecting", "disconnected"]
