"""What managing or running a saved tunnel can fail with, by Apple's names and numbers."""

from __future__ import annotations

from enum import IntEnum

from tunflow.errors import LocalError, RemoteError


class VPNErrorCode(IntEnum):
    """NEVPNError."""

    CONFIGURATION_INVALID = 1
    CONFIGURATION_DISABLED = 2
    CONNECTION_FAILED = 3
    CONFIGURATION_STALE = 4
    CONFIGURATION_READ_WRITE_FAILED = 5
    CONFIGURATION_UNKNOWN = 6


class VPNError(LocalError):
    """A saved tunnel cannot be loaded, saved or started as it is; `code` says how."""

    def __init__(self, code: VPNErrorCode, line: str) -> None:
        super().__init__(line)
        self.code = code


class VPNConnectionErrorCode(IntEnum):
    """NEVPNConnectionError: those that can happen here."""

    NO_NETWORK_AVAILABLE = 2
    CONFIGURATION_FAILED = 4
    SERVER_ADDRESS_RESOLUTION_FAILED = 5
    SERVER_NOT_RESPONDING = 6
    PLUGIN_FAILED = 12


class VPNConnectionError(RemoteError):
    """Why a tunnel ended, or did not come up; `code` says how."""

    def __init__(self, code: VPNConnectionErrorCode, line: str) -> None:
        super().__init__(line)
        self.code = code
