"""Why a provider is stopped: NEProviderStopReason, all of its values."""

from __future__ import annotations

from enum import IntEnum


class ProviderStopReason(IntEnum):
    """What `stop_tunnel`, `stop_proxy` and `stop_filter` are told."""

    NONE = 0
    USER_INITIATED = 1
    PROVIDER_FAILED = 2
    NO_NETWORK_AVAILABLE = 3
    UNRECOVERABLE_NETWORK_CHANGE = 4
    PROVIDER_DISABLED = 5
    AUTHENTICATION_CANCELED = 6
    CONFIGURATION_FAILED = 7
    IDLE_TIMEOUT = 8
    CONFIGURATION_DISABLED = 9
    CONFIGURATION_REMOVED = 10
    SUPERSEDED = 11
    """Apple's `superceded`."""
    USER_LOGOUT = 12
    USER_SWITCH = 13
    CONNECTION_FAILED = 14
    SLEEP = 15
    APP_UPDATE = 16
    INTERNAL_ERROR = 17
