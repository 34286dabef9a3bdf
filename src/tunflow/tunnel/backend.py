"""What a system-wide tunnel carries everything by: servers (`server_backend`) or a provider (`provider_backend`).

`tunnel.engine` has the life of the tunnel, which is the same for both, and asks its backend at each turn of it. Unless
it says otherwise a method is called while the engine holds `TunnelInterface.changing`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from tunflow.outbound.delay_round import DelayListener
from tunflow.providers.stop_reason import ProviderStopReason
from tunflow.tunnel.plan import Plan
from tunflow.tunnel.tunnel import no_groups, no_provider


class Backend(ABC):
    """One tunnel's, on a `TunnelInterface` that it was made with; what only one kind can do is refused here."""

    @property
    @abstractmethod
    def path(self) -> str | None:
        """The way to the network, for people; None before it is known. Called at any time."""

    @abstractmethod
    async def start(self) -> None:
        """Make the host as it must be and serve its device. Raises LocalError, RemoteError or OSError, and then `stop`
        is called."""

    @abstractmethod
    def mark_path(self) -> None:
        """Take the way to the network as it is now for the one that changes are told from. Raises OSError."""

    @abstractmethod
    async def stop(self, reason: ProviderStopReason) -> None:
        """End what runs, also after a `start` that failed; the engine takes device and host settings down after it."""

    @abstractmethod
    async def reload(self, plan: Plan) -> None:
        """Go on with another plan. Raises LocalError or RemoteError, after which the old one runs on."""

    @abstractmethod
    async def follow(self) -> float:
        """Look at the network and follow it. Return the seconds after which to look again though nothing changes, or 0.

        Raises RemoteError, LocalError or OSError when the way out is not found yet: it is called again.
        """

    @abstractmethod
    def woke(self) -> None:
        """The machine slept: what was known of the network is old; `follow` is called next. Called at any time."""

    @abstractmethod
    async def check(self) -> None:
        """Find out whether what it carries by answers. Called at any time while connected."""

    @abstractmethod
    def facts(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Return the facts of the tunnel's interface with its own, for `status --json`. Called at any time."""

    @abstractmethod
    async def admit(self, *, bypass: bool) -> dict[str, Any]:
        """As `Tunnel.admit`; called at any time. Raises LocalError."""

    @abstractmethod
    async def show_portal(self, pid: int) -> dict[str, Any]:
        """As `Tunnel.show_portal`; called at any time. Raises LocalError or RemoteError."""

    def groups(self, select: tuple[str, str] | None) -> list[dict[str, Any]]:  # noqa: ARG002
        """As `Tunnel.groups`; called at any time. Raises LocalError."""
        raise no_groups()

    def measure(self, group: str | None, told: DelayListener) -> list[str]:  # noqa: ARG002
        """As `Tunnel.measure`; called at any time. Raises LocalError."""
        raise no_groups()

    async def send_message(self, data: bytes) -> bytes | None:  # noqa: ARG002
        """As `Tunnel.send_message`; called at any time. Raises LocalError or RemoteError."""
        raise no_provider()
