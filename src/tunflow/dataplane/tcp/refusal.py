"""How a client learns that its connection cannot be made: as if it had dialled the target itself."""

from __future__ import annotations

import errno

from tunflow.conduit import ClientConduit
from tunflow.dataplane.context import FlowContext
from tunflow.protocols.codec import Refusal
from tunflow.stack.icmp import Reason

_UNREACHABLE = {
    errno.ENETUNREACH: Reason.NET,
    errno.EHOSTUNREACH: Reason.HOST,
    errno.EHOSTDOWN: Reason.HOST,
    errno.EADDRNOTAVAIL: Reason.NET,
    errno.EACCES: Reason.ADMIN_PROHIBITED,
    errno.EPERM: Reason.ADMIN_PROHIBITED,
}

_ERRNO = {
    Refusal.NET_UNREACHABLE: errno.ENETUNREACH,
    Refusal.HOST_UNREACHABLE: errno.EHOSTUNREACH,
    Refusal.TIMED_OUT: errno.ETIMEDOUT,
    Refusal.PROHIBITED: errno.EACCES,
    Refusal.CREDENTIALS: errno.EACCES,
    Refusal.CERTIFICATE: errno.EACCES,
}


def errno_of(refusal: Refusal) -> int:
    """What a proxy's refusal would have been had the target been dialled from here."""
    return _ERRNO.get(refusal, errno.ECONNREFUSED)


def give_up(context: FlowContext, connection: ClientConduit, error: int) -> None:
    """End a connection that nobody owns any more, for the reason that `error` (an errno) is."""
    context.statistics.tcp_failed += 1
    connection.user = None
    if not connection.held:
        connection.abort()  # somebody let it in to see what it wants; now it can only be reset
    elif error in _UNREACHABLE:
        context.stack.unreachable(connection.syn, _UNREACHABLE[error], context.reactor.now)
        connection.reject(reset=False)
    else:
        # A time-out stays one: the client's own SYN has been waiting just as long.
        connection.reject(reset=error != errno.ETIMEDOUT)
