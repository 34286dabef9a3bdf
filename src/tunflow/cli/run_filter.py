"""`tunflow run` with a filter of the user's own: its coroutines run on a loop beside the packets."""

from __future__ import annotations

import asyncio

from tunflow.cli.saying import say
from tunflow.dataplane.driver import Driver
from tunflow.host.program.exit_result import ExitResult
from tunflow.host.program.program import Program
from tunflow.hosting.watchdog import Watchdog
from tunflow.loop.event_loop import ReactorLoop
from tunflow.loop.reactor import READ, Reactor
from tunflow.providers.stop_reason import ProviderStopReason
from tunflow.tunnel.filtering import Filtering


def serve_filtered(reactor: Reactor, driver: Driver, program: Program, filtering: Filtering) -> ExitResult:
    """Let the program go, and serve until it ends."""
    loop = ReactorLoop(reactor)
    watchdog = Watchdog(reactor, say)
    try:
        return loop.run_until_complete(_serve(reactor, driver, program, filtering))
    finally:
        watchdog.close()


async def _serve(reactor: Reactor, driver: Driver, program: Program, filtering: Filtering) -> ExitResult:
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    reactor.add(program.exit_fd, READ, lambda _: None if ended.done() else ended.set_result(None))
    program.release()
    await ended
    reactor.remove(program.exit_fd)
    result = program.result()
    driver.drain()
    await filtering.stop(ProviderStopReason.USER_INITIATED)
    return result
