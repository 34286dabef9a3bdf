"""What a tunnel is doing, in the words of Apple's NEVPNStatus, and why it ended (NEProviderStopReason)."""

from __future__ import annotations

from enum import Enum, IntEnum


class Status(Enum):
    """The states of a tunnel."""

    INVALID = "invalid"
    """There is no configuration to make one from."""
    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    REASSERTING = "reasserting"
    """Up, and finding its way to the server again after the network changed."""
    DISCONNECTING = "disconnecting"


class StopReason(IntEnum):
    """Why a tunnel is stopped; the values are Apple's."""

    NONE = 0
    USER_INITIATED = 1
    PROVIDER_FAILED = 2
    NO_NETWORK_AVAILABLE = 3
    UNRECOVERABLE_NETWORK_CHANGE = 4
    SUPERSEDED = 11
    CONNECTION_FAILED = 14
