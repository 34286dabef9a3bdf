"""Serving a loop for as long as something goes on, with asyncio beside it where somebody needs that."""

from __future__ import annotations

from collections.abc import Callable

from tunflow.loop.reactor import Reactor


def serve_while(reactor: Reactor, goes_on: Callable[[], bool], finish: Callable[[], None], *, coroutines: bool) -> None:
    """Serve rounds while `goes_on`, which is asked after each, and then `finish`; `coroutines` says whether asyncio
    must run on it."""
    if not coroutines:
        while goes_on():
            reactor.run_once(None)
        finish()
        return
    import asyncio  # noqa: PLC0415 (which few need)

    from tunflow.loop.event_loop import ReactorLoop  # noqa: PLC0415

    async def wait() -> None:
        over = asyncio.get_running_loop().create_future()

        def look() -> None:
            if not goes_on() and not over.done():
                over.set_result(None)

        reactor.at_round_end(look)
        look()
        await over
        reactor.forget_machine(look)
        finish()
        await asyncio.sleep(0)  # what was cancelled ends

    loop = ReactorLoop(reactor)
    try:
        loop.run_until_complete(wait())
    finally:
        loop.close()
