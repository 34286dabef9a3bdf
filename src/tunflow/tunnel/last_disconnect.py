"""Why the last tunnel ended, written down for programs that ask later (`VPNConnection.fetch_last_disconnect_error`)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

from tunflow.errors import LocalError, RemoteError, TunflowError
from tunflow.outbound.lookup import NoAddress
from tunflow.single_values import json_value
from tunflow.tunnel.vpn_error import VPNConnectionErrorCode

FILE = "last-end.json"
_LARGEST = 65536


class LastDisconnect(NamedTuple):
    """The end of a tunnel: its profile's file, and what went wrong (None: it was taken down)."""

    profile: str
    code: VPNConnectionErrorCode | None
    line: str


def code_of(error: TunflowError) -> VPNConnectionErrorCode:
    """What kind of failure an error is."""
    if isinstance(error, NoAddress):
        return VPNConnectionErrorCode.SERVER_ADDRESS_RESOLUTION_FAILED
    if isinstance(error, LocalError):
        return VPNConnectionErrorCode.CONFIGURATION_FAILED
    assert isinstance(error, RemoteError)
    return VPNConnectionErrorCode.SERVER_NOT_RESPONDING


class LastDisconnectFile:
    """The file, opened while there are rights to; written when there may be none any more."""

    def __init__(self, directory: Path) -> None:
        """Raises OSError."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(directory / FILE, flags, 0o600)

    @classmethod
    def note(cls, directory: Path, end: LastDisconnect) -> None:
        """Remember it at once. Raises OSError."""
        file = cls(directory)
        file.write(end)
        file.close()

    def write(self, end: LastDisconnect) -> None:
        """Remember it. Raises OSError."""
        content = json.dumps({"profile": end.profile, "code": end.code, "line": end.line}).encode()
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, content, 0)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._descriptor)


def read(directory: Path) -> LastDisconnect | None:
    """What was remembered; None for nothing, or nothing that can be read."""
    try:
        with (directory / FILE).open("rb") as file:
            data = json_value(file.read(_LARGEST))
        code = data["code"]
        return LastDisconnect(
            str(data["profile"]), None if code is None else VPNConnectionErrorCode(code), str(data["line"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
