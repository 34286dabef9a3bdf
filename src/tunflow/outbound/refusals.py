"""A refusal in a proxy's words and as the error of a connection attempt of one's own: the same things, both ways."""

from __future__ import annotations

import errno

from tunflow.protocols.codec import Refusal

_ERRNO = {
    Refusal.REFUSED: errno.ECONNREFUSED,
    Refusal.NET_UNREACHABLE: errno.ENETUNREACH,
    Refusal.HOST_UNREACHABLE: errno.EHOSTUNREACH,
    Refusal.TIMED_OUT: errno.ETIMEDOUT,
    Refusal.PROHIBITED: errno.EACCES,
}
_REFUSAL = {error: refusal for refusal, error in _ERRNO.items()} | {
    errno.EADDRNOTAVAIL: Refusal.HOST_UNREACHABLE,
    errno.EHOSTDOWN: Refusal.HOST_UNREACHABLE,
    errno.EPERM: Refusal.PROHIBITED,
}
_ERRNO |= dict.fromkeys((Refusal.CREDENTIALS, Refusal.CERTIFICATE), errno.EACCES)


def errno_of(refusal: Refusal) -> int:
    """What a proxy's refusal would have been had the target been dialled from here."""
    return _ERRNO.get(refusal, errno.ECONNREFUSED)


def refusal_of(error: int) -> Refusal:
    """What an attempt that ended so (an errno) is in a proxy's words."""
    return _REFUSAL.get(error, Refusal.FAILED)
