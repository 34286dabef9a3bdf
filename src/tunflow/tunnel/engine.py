"""A plan in, a running tunnel out: the life of a system-wide tunnel, through changes of the network.

What carries it is a `Backend`: servers, or a provider. All else is here, once. One asyncio task at a time changes the
tunnel (`TunnelInterface.changing`), all in the thread that carries the packets.

- Start: the host's settings either all stand or are all taken back.
- A change of the network: the backend follows it, and is asked again, later and later, while it cannot.
- Reload: the backend goes on with another plan or with the old one.
- Stop: clients are told by resets, the host is put back, the device goes.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tunflow.errors import LocalError, RemoteError
from tunflow.host.network.helper import SupervisorGone
from tunflow.outbound.delay_round import DelayListener
from tunflow.providers.status import ConnectionStatus
from tunflow.providers.stop_reason import ProviderStopReason
from tunflow.tunnel.backend import Backend
from tunflow.tunnel.closed_names import closed_names
from tunflow.tunnel.plan import Plan
from tunflow.tunnel.tunnel import Tunnel
from tunflow.tunnel.tunnel_interface import TunnelInterface

if TYPE_CHECKING:
    from tunflow.tunnel.list_refresh import ListRefresh

RETRY_AT_MOST = 15.0
"""Seconds between two tries to reach the server again; the first wait is half a second, each next twice as long."""

CHECK_PAUSE = 5.0
"""Seconds for which the answer of a server that was asked for a status counts."""


class Engine(Tunnel):
    """One tunnel: `interface` on this machine, and `backend` that carries it."""

    def __init__(
        self, plan: Plan, interface: TunnelInterface, backend: Backend, retry_at_most: float = RETRY_AT_MOST
    ) -> None:
        self.plan = plan
        self.ended = interface.ended
        self._interface = interface
        self._say = interface.context.serving.say
        self._backend = backend
        self._retry_at_most = retry_at_most
        self._checked_at = -CHECK_PAUSE
        self._follower: asyncio.Task[None] | None = None
        self._lists: ListRefresh | None = None
        self._refresher: asyncio.Task[None] | None = None

    @property
    def is_lost(self) -> bool:
        """As `Tunnel.is_lost`."""
        return self._interface.is_lost

    async def start(self) -> None:
        """Bring the tunnel up. Raises LocalError, RemoteError or OSError, after which the host is as it was."""
        async with self._interface.changing:
            self._interface.enter(ConnectionStatus.CONNECTING)
            try:
                await self._backend.start()
                self._interface.watch(self._woke)
                self._backend.mark_path()
            except BaseException:
                await self._take_down(ProviderStopReason.CONNECTION_FAILED, failed=True)
                raise
            self._enter_first()
            self._follower = asyncio.create_task(self._follow())
            self._refresh_lists()
            self._tell_closed_names()

    def _enter_first(self) -> None:
        """Connected, or waiting for a login."""
        if self._interface.portals.portal is None:
            self._interface.enter(ConnectionStatus.CONNECTED)
        else:
            self._interface.enter(ConnectionStatus.REASSERTING)
            self._interface.look_again.set()

    async def stop(self, reason: ProviderStopReason, *, keep: bool = False) -> None:
        """Take the tunnel down; flows are reset. Raises LocalError."""
        for task in (self._refresher, self._follower):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        async with self._interface.changing:
            self._interface.stopping(reason)
            await self._take_down(reason, keep=keep)

    async def _take_down(self, reason: ProviderStopReason, *, keep: bool = False, failed: bool = False) -> None:
        try:
            await self._backend.stop(reason)
        finally:
            try:
                self._interface.take_down(keep=keep, failed=failed)
            finally:
                self._interface.enter(ConnectionStatus.DISCONNECTED)

    async def reload(self, plan: Plan) -> None:
        """Go on with another plan; running flows go on as they were decided. Raises LocalError or RemoteError."""
        async with self._interface.changing:
            await self._backend.reload(plan)
            self.plan = plan
            self._refresh_lists()
            self._say(f"reloaded: {', '.join(plan.labels)}")
            self._tell_closed_names()

    def _tell_closed_names(self) -> None:
        """Say which names do not resolve, where it is so."""
        line = closed_names(self._interface.host.settings, self._interface.context.outer_nameservers())
        if line is not None:
            self._say(line)

    def _refresh_lists(self) -> None:
        """Have lists fetched again by themselves, where the profile wants that."""
        if self._lists is not None or not self.plan.fetched_lists:
            return
        from tunflow.tunnel.list_refresh import ListRefresh  # noqa: PLC0415 (compiles profiles, for who has such lists)

        self._lists = ListRefresh(lambda: self.plan, self.reload, self._say)
        watcher = self._interface.context.serving.watcher
        if watcher is not None:
            watcher.fetch_by(self._lists)
        self._refresher = asyncio.create_task(self._lists.run())

    # What it is asked.

    async def check(self) -> None:
        """Find out, unless that was done just now, whether what it carries by answers and packets come in."""
        now = self._interface.context.serving.reactor.now
        if self._interface.state is ConnectionStatus.CONNECTED and now - self._checked_at >= CHECK_PAUSE:
            self._checked_at = now
            await self._backend.check()

    def status(self) -> dict[str, Any]:
        """The facts of `status --json`."""
        facts = self._backend.facts(self._interface.facts(self.plan, self._backend.path))
        return facts if self._lists is None else facts | {"lists": self._lists.facts()}

    async def admit(self, *, bypass: bool) -> dict[str, Any]:
        """As `Tunnel.admit`. Raises LocalError."""
        return await self._backend.admit(bypass=bypass)

    async def show_portal(self, pid: int) -> dict[str, Any]:
        """As `Tunnel.show_portal`. Raises LocalError or RemoteError."""
        return await self._backend.show_portal(pid)

    def groups(self, select: tuple[str, str] | None = None) -> list[dict[str, Any]]:
        """As `Tunnel.groups`. Raises LocalError."""
        return self._backend.groups(select)

    def measure(self, group: str | None, told: DelayListener) -> list[str]:
        """As `Tunnel.measure`. Raises LocalError."""
        return self._backend.measure(group, told)

    async def send_message(self, data: bytes) -> bytes | None:
        """As `Tunnel.send_message`. Raises LocalError or RemoteError."""
        return await self._backend.send_message(data)

    # Changes of the network.

    def _woke(self, slept: float) -> None:
        """The machine slept for so many seconds."""
        self._say(f"the machine slept for {slept:.0f} s")
        self._backend.woke()
        self._interface.look_again.set()

    async def _follow(self) -> None:
        """Take in every change of the network, one after the other, until cancelled, or until this process is about to
        end because its supervisor did."""
        delay = retry = 0.0
        while True:
            await self._wait(delay)
            try:
                async with self._interface.changing:
                    delay = await self._take_in()
                    retry = 0.0
            except SupervisorGone as error:
                self._say(str(error))
                return
            except (RemoteError, LocalError, OSError) as error:
                self._say(f"not connected yet: {error}")
                delay = retry = min(self._retry_at_most, max(0.5, retry * 2))

    async def _wait(self, delay: float) -> None:
        """Until the network changes, or for `delay` seconds if that is not 0."""
        with suppress(TimeoutError):
            async with asyncio.timeout(delay or None):
                await self._interface.look_again.wait()
        self._interface.look_again.clear()

    async def _take_in(self) -> float:
        """As `Backend.follow`, while there is a device to carry from."""
        if self._interface.device_is_gone():
            self._interface.over("")
            return 0
        return await self._backend.follow()
