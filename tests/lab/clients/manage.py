"""A program that manages a saved tunnel: starts it, follows its status, stops it; what happened on stdout as JSON."""

from __future__ import annotations

import asyncio
import json
import sys

from tunflow.errors import TunflowError
from tunflow.providers.status import ConnectionStatus
from tunflow.tunnel.tunnel_manager import TunnelManager


async def main(link: str, dns: str) -> dict[str, object]:
    """What came of it."""
    manager = TunnelManager("managed", [link])
    manager.profile = manager.profile.model_copy(update={"dns": manager.profile.dns.model_copy(update={"mode": dns})})
    await manager.save()
    seen: list[str] = []
    follower = asyncio.create_task(follow(manager, seen))
    error = None
    try:
        await manager.connection.start()
    except TunflowError as problem:
        error = f"{type(problem).__name__} {problem.code.name}"  # type: ignore[attr-defined]
    if error is None:  # who follows is told a moment later, on a busy machine after the tunnel would be down again
        async with asyncio.timeout(10):
            while "CONNECTED" not in seen:
                await asyncio.sleep(0.01)
    (same,) = await TunnelManager.load_all()
    facts = {"error": error, "status": same.connection.status.name, "since": str(same.connection.connected_date)}
    await same.connection.stop()
    while not follower.done() and (not seen or seen[-1] != "DISCONNECTED"):
        await asyncio.sleep(0.01)
    follower.cancel()
    last = await manager.connection.fetch_last_disconnect_error()
    await manager.remove()
    return {**facts, "seen": seen, "last": last and last.code.name, "after": manager.connection.status.name}


async def follow(manager: TunnelManager, seen: list[str]) -> None:
    """Note every status."""
    async for status in manager.connection.status_changes():
        seen.append(ConnectionStatus(status).name)


sys.stdout.write(json.dumps(asyncio.run(main(*sys.argv[1:]))))
