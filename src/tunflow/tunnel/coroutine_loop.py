"""Serving with coroutines beside the packets: those of a filter of the user's own, and of packet tunnels."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from tunflow.loop.event_loop import ReactorLoop
from tunflow.providers.stop_reason import ProviderStopReason
from tunflow.tunnel.assemble import ServingContext
from tunflow.tunnel.draining import DRAIN, QUIET
from tunflow.tunnel.outbounds import Outbounds


def serve_with_coroutines(
    serving: ServingContext,
    outbounds: Outbounds,
    arm: Callable[[Callable[[], None]], None],
    finish: Callable[[], None],
    is_drained: Callable[[], bool],
    background: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """As `tunnel.serving.serve_until`."""
    ReactorLoop(serving.reactor).run_until_complete(_serve(serving, outbounds, arm, finish, is_drained, background))


async def _serve(
    serving: ServingContext,
    outbounds: Outbounds,
    arm: Callable[[Callable[[], None]], None],
    finish: Callable[[], None],
    is_drained: Callable[[], bool],
    background: Callable[[], Awaitable[None]] | None,
) -> None:
    tunnels = outbounds.tunnels
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    if tunnels is not None:
        tunnels.start(serving.reactor, serving.say, serving.sockets)
    arm(lambda: None if ended.done() else ended.set_result(None))
    beside = None if background is None else asyncio.ensure_future(background())
    if beside is not None:
        beside.add_done_callback(_tell_failure)
    await ended
    if beside is not None:
        beside.cancel()
        await asyncio.gather(beside, return_exceptions=True)
    if tunnels is not None or outbounds.sessions:
        await _drain(is_drained)
    finish()
    outbounds.sessions.close()
    await serving.filter.stop(ProviderStopReason.USER_INITIATED)
    if tunnels is not None:
        await tunnels.stop(ProviderStopReason.USER_INITIATED)


def _tell_failure(task: asyncio.Future[None]) -> None:
    """Have the loop tell what ended a task that nobody waits for."""
    if not task.cancelled() and (error := task.exception()) is not None:
        task.get_loop().call_exception_handler({"message": "what runs beside the packets ended", "exception": error})


async def _drain(is_drained: Callable[[], bool]) -> None:
    """Let the clients' kernels send what is left, and the far ends take it; not for longer than `DRAIN`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN):
            await asyncio.sleep(QUIET)
            while not is_drained():
                await asyncio.sleep(QUIET)
