"""How a client learns that its connection cannot be made: as if it had dialled the target itself."""

from __future__ import annotations

import errno

from tunflow.conduit import ClientConduit
from tunflow.dataplane.context import FlowContext
from tunflow.dataplane.unreachable import REASONS


def refuse_client(context: FlowContext, connection: ClientConduit, error: int) -> None:
    """End a connection that nobody owns any more, for the reason that `error` (an errno) is."""
    context.statistics.tcp_failed += 1
    connection.user = None
    if not connection.held:
        connection.abort()  # somebody let it in to see what it wants; now it can only be reset
    elif error in REASONS:
        context.stack.unreachable(connection.syn, REASONS[error], context.reactor.now)
        connection.reject(reset=False)
    else:
        # A time-out stays one: the client's own SYN has been waiting just as long.
        connection.reject(reset=error != errno.ETIMEDOUT)
