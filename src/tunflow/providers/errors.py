"""What a flow's or a tunnel's operation can fail with, by Apple's names and numbers.

Numbers are those of NEAppProxyFlowError and NETunnelProviderError, so that code and logs from there keep their meaning.
"""

from __future__ import annotations

import errno
from enum import IntEnum

from tunflow.errors import TunflowError


class AppProxyFlowErrorCode(IntEnum):
    """NEAppProxyFlowError (NEAppProxyErrorDomain)."""

    NOT_CONNECTED = 1
    """The flow is not open: not yet, or not any more."""
    PEER_RESET = 2
    """The program reset the connection."""
    HOST_UNREACHABLE = 3
    INVALID_ARGUMENT = 4
    ABORTED = 5
    """The flow was closed while this waited."""
    REFUSED = 6
    TIMED_OUT = 7
    INTERNAL = 8
    DATAGRAM_TOO_LARGE = 9
    READ_ALREADY_PENDING = 10
    """Another read of this flow has not been answered yet."""


class AppProxyFlowError(TunflowError):
    """An operation on a flow failed, or what a flow is closed with; `code` says how.

    Given to `close_write`, it decides how the program's connection ends: REFUSED and PEER_RESET as a reset,
    HOST_UNREACHABLE and TIMED_OUT, before the flow is open, as the network's own answer.
    """

    def __init__(self, code: AppProxyFlowErrorCode, message: str = "") -> None:
        super().__init__(message or code.name.lower().replace("_", " "))
        self.code = code


class TunnelProviderErrorCode(IntEnum):
    """NETunnelProviderError (NETunnelProviderErrorDomain)."""

    NETWORK_SETTINGS_INVALID = 1
    CANCELED = 2
    FAILED = 3


class TunnelProviderError(TunflowError):
    """A tunnel provider's operation failed: its settings were refused, or it was cancelled or broke."""

    def __init__(self, code: TunnelProviderErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


_CODES = {
    errno.ECONNREFUSED: AppProxyFlowErrorCode.REFUSED,
    errno.ECONNRESET: AppProxyFlowErrorCode.PEER_RESET,
    errno.EPIPE: AppProxyFlowErrorCode.PEER_RESET,
    errno.ETIMEDOUT: AppProxyFlowErrorCode.TIMED_OUT,
    errno.ENETUNREACH: AppProxyFlowErrorCode.HOST_UNREACHABLE,
    errno.EHOSTUNREACH: AppProxyFlowErrorCode.HOST_UNREACHABLE,
    errno.EMSGSIZE: AppProxyFlowErrorCode.DATAGRAM_TOO_LARGE,
    errno.EINVAL: AppProxyFlowErrorCode.INVALID_ARGUMENT,
}


def flow_error(error: BaseException) -> AppProxyFlowError:
    """Any error as a flow's: what a provider's connection outside failed with, for `flow.close_write`."""
    if isinstance(error, AppProxyFlowError):
        return error
    if isinstance(error, TimeoutError):
        return AppProxyFlowError(AppProxyFlowErrorCode.TIMED_OUT, str(error))
    if isinstance(error, OSError):
        return AppProxyFlowError(_CODES.get(error.errno or 0, AppProxyFlowErrorCode.INTERNAL), str(error))
    return AppProxyFlowError(AppProxyFlowErrorCode.INTERNAL, f"{type(error).__name__}: {error}")
