"""A system-wide tunnel as the process that serves it knows it, whatever it is made of.

`Engine` carries everything through servers or a provider; `DemandedTunnel` has one up while its on-demand rules want
it. Each watches the network itself and follows it: nobody has to tell it.
"""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from tunflow.errors import LocalError
from tunflow.outbound.delay_round import DelayListener
from tunflow.providers.status import ConnectionStatus
from tunflow.providers.stop_reason import ProviderStopReason
from tunflow.tunnel.plan import Plan


class Tunnel(ABC):
    """One tunnel, from `start` to `stop`, which come once each; its methods are called in one event loop."""

    plan: Plan
    """What it carries out now."""
    ended: asyncio.Future[str]
    """Done with a line that says why, when the tunnel cannot go on; `stop` is still to be called."""

    @property
    def is_lost(self) -> bool:
        """True if that was done to it from outside, so that another process may make it anew."""
        return False

    @abstractmethod
    async def start(self) -> None:
        """Bring it up. Raises LocalError, RemoteError or OSError, after which the host is as it was; so it is when this
        is cancelled."""

    @abstractmethod
    async def stop(self, reason: ProviderStopReason, *, keep: bool = False) -> None:
        """Take it down and put the host back. Raises LocalError when that failed.

        With `keep` the host stays as it is, for another process that takes over what is recorded.
        """

    @abstractmethod
    async def reload(self, plan: Plan) -> None:
        """Go on with another plan. Raises LocalError or RemoteError, after which the old one runs on."""

    async def check(self) -> None:  # noqa: B027 - not all have somebody to ask
        """Find out whether it works, for the next `status`; takes a moment."""

    @abstractmethod
    def status(self) -> dict[str, Any]:
        """The facts of `status --json`, those of `facts` and perhaps more; no secrets."""

    @abstractmethod
    async def admit(self, *, bypass: bool) -> dict[str, Any]:
        """How a program comes to use the tunnel, or to go around it: the control group to join, None for none, and the
        name servers to ask. Raises LocalError."""

    async def show_portal(self, pid: int) -> dict[str, Any]:  # noqa: ARG002
        """Open the way to the network's login page for as long as the process `pid` lives: its address, the mark that
        packets take there, and the resolvers and ports. Raises LocalError or RemoteError."""
        raise no_portal()

    def groups(self, select: tuple[str, str] | None = None) -> list[dict[str, Any]]:  # noqa: ARG002
        """The groups of servers and what they use, after `select` (a group and its member). Raises LocalError."""
        raise no_groups()

    def measure(self, group: str | None, told: DelayListener) -> list[str]:  # noqa: ARG002
        """Ask the servers of a group, or all, how they do now: which they are; `told` hears of each.

        Raises LocalError.
        """
        raise no_groups()

    async def send_message(self, data: bytes) -> bytes | None:  # noqa: ARG002
        """A message for the provider; its answer. Raises LocalError or RemoteError."""
        raise no_provider()


def no_groups() -> LocalError:
    """What somebody is told who asks for groups of servers where there are none."""
    return LocalError("there are no groups of servers: the tunnel is a provider's, or not up")


def no_portal() -> LocalError:
    """What somebody is told who wants a login page of a tunnel that does not look for them."""
    return LocalError("this tunnel does not look for login pages: it is not up")


def no_provider() -> LocalError:
    """What somebody is told who has a message for a provider where there is none."""
    return LocalError("no provider is running: nobody answers messages")


def facts(
    plan: Plan,
    status: ConnectionStatus = ConnectionStatus.DISCONNECTED,
    *,
    device: str | None = None,
    since: str | None = None,
    bytes_in: int = 0,
    bytes_out: int = 0,
    flows: int = 0,
    path: str | None = None,
    troubles: Sequence[Mapping[str, str | None]] = (),
    internal_errors: int = 0,
) -> dict[str, Any]:
    """What every tunnel says of itself in `status --json`; `since` is ISO 8601, `path` for people.

    `troubles` are what does not work though the tunnel is up: `what`, for people, since when, and of which server.
    """
    return {
        "status": status.word,
        "pid": os.getpid(),
        "device": device,
        "profile": plan.file or None,
        "servers": list(plan.labels),
        "since": since,
        "bytes_in": bytes_in,
        "bytes_out": bytes_out,
        "flows": flows,
        "kill_switch": plan.host.kill_switch and status is not ConnectionStatus.DISCONNECTED,
        "path": path,
        "troubles": list(troubles),
        "internal_errors": internal_errors,
    }
