"""What a stream protocol calls where its servers may have a mux."""

from __future__ import annotations

from collections.abc import Callable

from tunflow.protocols.contract import Outbound, OutboundContext, StreamRoute
from tunflow.protocols.mux.settings import Mux


def multiplexed(
    outbound: Outbound,
    mux: Mux | None,
    context: OutboundContext,
    *,
    udp: bool,
    cool_route: Callable[[], StreamRoute] | None = None,
) -> Outbound:
    """The way out by streams in shared connections of `outbound`, as `mux` asks for them; `outbound` itself for None.

    `udp` is whether the server is to carry any; `cool_route` a stream for mux.cool, where there is a command for it.
    """
    if mux is None:
        return outbound
    from tunflow.protocols.mux.outbound import over  # noqa: PLC0415  (not for who has no use for it)

    return over(outbound, mux, context, udp=udp, cool_route=cool_route)
