"""The host's side of a tunnel on whichever system this is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Protocol

from tunflow.errors import LocalError
from tunflow.host.network.settings import HostSettings
from tunflow.host.network.state_file import STATE_FILE
from tunflow.host.tun import TunDevice


class SystemNetwork(Protocol):
    """What `HostNetwork` and `MacNetwork` have in common; the former documents it."""

    device: TunDevice | None

    @property
    def settings(self) -> HostSettings | None:
        """What is in force."""

    def apply(self, settings: HostSettings) -> None:
        """Make the host what `settings` say; again after a change of the network. Raises LocalError."""

    def undo(self, *, keep_kill_switch: bool = False) -> None:
        """Leave the host as it was found, or with the kill switch that was found on it. Raises LocalError."""


def open_network(state: Path | None = None, system: str = sys.platform) -> SystemNetwork:
    """The changes that a tunnel makes to this host; `state` is the file to record them in. Raises LocalError."""
    if system == "linux":
        from tunflow.host.network.network import HostNetwork  # noqa: PLC0415 - each system imports its own

        return HostNetwork(state or STATE_FILE)
    if system == "darwin":
        from tunflow.host.macos import network as mac  # noqa: PLC0415

        return mac.MacNetwork(state or mac.STATE_FILE)
    raise LocalError(f"system-wide tunnels need Linux or macOS, and this is {system}")


def undo_recorded(state: Path | None = None, system: str = sys.platform) -> bool:
    """Undo what a process that is gone had recorded. Return True if there was anything. Raises LocalError."""
    if system == "darwin":
        from tunflow.host.macos import network as mac  # noqa: PLC0415

        return mac.undo_recorded(state or mac.STATE_FILE)
    from tunflow.host.network import network  # noqa: PLC0415

    return network.undo_recorded(state or STATE_FILE)
