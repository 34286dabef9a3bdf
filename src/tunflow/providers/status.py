"""How a tunnel stands: NEVPNStatus."""

from __future__ import annotations

from enum import IntEnum


class ConnectionStatus(IntEnum):
    """NEVPNStatus, by its numbers."""

    INVALID = 0
    DISCONNECTED = 1
    CONNECTING = 2
    CONNECTED = 3
    REASSERTING = 4
    DISCONNECTING = 5
