"""How a tunnel stands: NEVPNStatus."""

from __future__ import annotations

from enum import IntEnum


class ConnectionStatus(IntEnum):
    """NEVPNStatus, by its numbers."""

    INVALID = 0
    """There is no configuration to make a tunnel from."""
    DISCONNECTED = 1
    CONNECTING = 2
    CONNECTED = 3
    REASSERTING = 4
    """Up, and finding its way to the server again after the network changed."""
    DISCONNECTING = 5

    @property
    def word(self) -> str:
        """What `tunflow status` says."""
        return self.name.lower()
