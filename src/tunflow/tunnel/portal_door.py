"""The way to a login page, as the host's settings have it: opened to look for one, and for a program that shows it.

What looks is `portal_watch`. The kill switch lets out what the tunnel itself opens towards the page, and nothing else.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from tunflow.addresses import ip_address
from tunflow.errors import RemoteError
from tunflow.host.network.settings import HostSettings
from tunflow.tunnel.plan import Plan
from tunflow.tunnel.tunnel_interface import TunnelInterface

DOUBT = 5.0
"""Seconds that nothing may be heard of a server before a login page is looked for: some only start again."""

SHOWN_PAUSE = 2.0
"""Seconds between two looks at the network while its login page is open."""


def no_page() -> RemoteError:
    """What somebody is told who wants to see a login page while the tunnel is connected."""
    return RemoteError("the tunnel is connected: no login page is in the way")


class PortalDoor:
    """One tunnel's."""

    def __init__(self, interface: TunnelInterface) -> None:
        self._interface = interface
        self._doubted_at: float | None = None
        """Since when nothing is heard of a server; None while it is."""
        self._showing: asyncio.Task[None] | None = None
        """Looks often while somebody looks at a login page."""

    def patience(self, is_in_doubt: bool) -> float:
        """Return the seconds until nothing was heard of a server for long enough to look; 0 if it was, or is heard."""
        if not is_in_doubt:
            self._doubted_at = None
            return 0
        now = self._interface.context.serving.reactor.now
        if self._doubted_at is None:
            self._doubted_at = now
        return max(0.0, self._doubted_at + DOUBT - now)

    async def look(self) -> bool:
        """Return True if a login page is in the way, which is told once. Raises LocalError."""
        portals = self._interface.portals
        was, path = portals.portal, self._interface.finder.look([])
        is_there = await portals.look(path, self._apply)
        if portals.portal is not None and was is None:
            self._interface.context.serving.say(portals.portal_line)
        return is_there

    def _apply(self) -> None:
        """Make the host let out what looking for a login page takes, if it lets out less. Raises LocalError."""
        settings = self._interface.host.settings
        if settings is not None and settings.kill_switch:
            self._interface.host.apply(self.with_way(settings))

    def with_way(self, settings: HostSettings) -> HostSettings:
        """The same settings with the way as it is wanted now."""
        way = self._interface.portals.way
        if way is None:
            return replace(settings, portal=None, portal_ports=())
        resolvers, ports = way
        return replace(settings, portal=tuple(map(ip_address, resolvers)), portal_ports=ports)

    async def show(self, pid: int, plan: Plan) -> dict[str, Any]:
        """As `Tunnel.show_portal`, where the tunnel is not connected. Raises LocalError or RemoteError."""
        portals = self._interface.portals
        async with self._interface.changing:
            if portals.portal is None:
                await self.look()
            if portals.endless is not None:
                raise RemoteError(portals.endless)
            portals.admit(pid)
            self._apply()
        self._showing = asyncio.create_task(self._look_while_shown())
        url = portals.portal.url if portals.portal is not None else next(iter(plan.portal_probes), None)
        way = portals.way
        return {"url": url, "mark": self._interface.sockets.mark, "way": way, "is_found": portals.portal is not None}

    async def _look_while_shown(self) -> None:
        """Look often whether somebody has logged in."""
        while self._interface.portals.has_programs:
            await asyncio.sleep(SHOWN_PAUSE)
            self._interface.look_again.set()
        self._interface.look_again.set()

    def close(self) -> None:
        """Nobody looks any more."""
        if self._showing is not None:
            self._showing.cancel()
        self._interface.portals.clear()
