"""A program that starts a provider with options and sends it a message; what it answers, on stdout as JSON."""

from __future__ import annotations

import asyncio
import json
import sys

from tunflow.tunnel.tunnel_manager import TunnelProviderManager


async def main(provider: str) -> dict[str, object]:
    """What came of it."""
    manager = TunnelProviderManager("messages", provider, {"word": "configured"})
    await manager.save()
    await manager.connection.start({"answer": 42})
    answer = await manager.connection.send_message(b"hello")
    await manager.connection.stop()
    try:
        await manager.connection.send_message(b"hello")
    except Exception as error:
        return {"answer": (answer or b"").decode(), "then": str(error)}
    return {}


sys.stdout.write(json.dumps(asyncio.run(main(*sys.argv[1:]))))
