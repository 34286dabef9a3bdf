"""Serving a device in this process until something ends it, beside the coroutines of a filter or of packet tunnels."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from tunflow.tunnel.assemble import ServingContext
from tunflow.tunnel.draining import drain

if TYPE_CHECKING:
    from tunflow.tunnel.outbounds import Outbounds

Arm = Callable[[Callable[[], None]], None]
"""Is given what ends the serving, and sees to it that it is called."""


def serve_until(
    serving: ServingContext,
    outbounds: Outbounds,
    arm: Arm,
    finish: Callable[[], None] = lambda: None,
    is_drained: Callable[[], bool] = lambda: True,
    background: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Serve; at the end `finish` is called, and then the filter and the packet tunnels are stopped.

    `background` runs beside the packets until the end.

    Packet tunnels and sessions are served on until `is_drained`, for a while: what went into them last must come out.
    """
    reactor, standing = serving.reactor, serving.filter
    needs_loop = standing.has_life or background is not None or outbounds.sessions.wants_coroutines
    if needs_loop or outbounds.tunnels is not None:
        from tunflow.tunnel.coroutine_loop import serve_with_coroutines  # noqa: PLC0415 (brings asyncio)

        def is_all_drained() -> bool:
            return is_drained() and outbounds.sessions.is_drained

        serve_with_coroutines(serving, outbounds, arm, finish, is_all_drained, background)
        return
    arm(reactor.stop)
    reactor.run()
    if outbounds.sessions:
        drain(reactor, lambda: is_drained() and outbounds.sessions.is_drained)
    finish()
    standing.close()
