"""Finds a network's login page past the tunnel, and knows for whom the way to it is open.

It is looked for while no server can be reached, and again and again while one is known to be in the way; the tunnel
connects once a probe is clean. `way` is what the kill switch must let out for that: `HostSettings.portal`.
"""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable, Sequence
from contextlib import suppress

from tunflow.addresses import ip_address
from tunflow.errors import BadPacket, RemoteError
from tunflow.host.network.network_facts import interface_type
from tunflow.host.network.portal_option import portal_api
from tunflow.host.network.uplinks import Uplinks
from tunflow.loop.sockets import SocketOptions
from tunflow.providers.network_path import InterfaceType
from tunflow.tunnel.portal_signs import (
    WEB_PORTS,
    Portal,
    PortalSign,
    all_point_home,
    is_clean,
    portal_of,
    portal_of_api_untrusted,
    redirect_untrusted,
)
from tunflow.tunnel.server_names import ServerNames
from tunflow.tunnel.web_probe import fetch
from tunflow.urls import parse_web_address

MOST_REDIRECTS = 10
"""In a row; a login page that goes on after them has no end."""
PAUSE = 10.0
"""Seconds between two looks while nothing was found: the server may simply be down."""
_API = {"Accept": "application/captive+json"}


class PortalWatch:
    """One tunnel's; `outer` gives the name servers of the network outside, `probes` are URLs, `api` is what the network
    of an interface names."""

    def __init__(
        self,
        probes: Sequence[str],
        sockets: SocketOptions,
        outer: Callable[[], Sequence[str]],
        clock: Callable[[], float],
        api: Callable[[str, int], str | None] = portal_api,
    ) -> None:
        self.portal: Portal | None = None
        """The login page that is in the way."""
        self.since = 0.0
        """When it was found, by the clock."""
        self.endless: str | None = None
        """A line for people, where the page leads from one to the next and never to its end."""
        self._probes = probes
        self._sockets = sockets
        self._outer = outer
        self._clock = clock
        self._api = api
        self._is_looking = False
        self._looked_at = -PAUSE
        self._ports = frozenset(WEB_PORTS)
        self._followed: tuple[str, str] | None = None
        self._programs: list[int] = []
        self._cleared: Uplinks | None = None

    @property
    def portal_line(self) -> str:
        """What to tell people of the page that is in the way; "" while there is none."""
        return "" if self.portal is None else self.endless or self.portal.line

    def use(self, probes: Sequence[str]) -> None:
        """Ask for those from now on."""
        self._probes = probes

    # Who may go there.

    @property
    def way(self) -> tuple[tuple[str, ...], tuple[int, ...]] | None:
        """The addresses of resolvers and the ports to let out, while that is wanted; else None."""
        if not (self._is_looking or self.portal is not None or self.has_programs):
            return None
        return tuple(each for each in self._outer() if "%" not in each), tuple(sorted(self._ports))

    @property
    def has_programs(self) -> bool:
        """Return True while somebody looks at the page."""
        for pidfd in list(self._programs):
            waiting = select.poll()
            waiting.register(pidfd, select.POLLIN)
            if waiting.poll(0):
                self._programs.remove(pidfd)
                os.close(pidfd)
        return bool(self._programs)

    def admit(self, pid: int) -> None:
        """Keep the way open for as long as that process lives. Raises OSError where there is none."""
        self._programs.append(os.pidfd_open(pid))

    def clear(self) -> None:
        """Nothing is in the way any more: close it for everybody."""
        self.portal = self.endless = None
        self._followed = None
        self._ports = frozenset(WEB_PORTS)
        while self._programs:
            os.close(self._programs.pop())

    # Looking.

    async def suspects(self, path: Uplinks) -> bool:
        """Return True if it is worth a look though a server takes connections: on Wi-Fi, or where the network speaks of
        a login page, once a network. Some take every connection themselves."""
        if not self._probes or self.portal is not None or path == self._cleared:
            return False
        self._cleared = path
        return await asyncio.to_thread(_may_want_login, path)

    async def look(self, path: Uplinks, apply: Callable[[], None]) -> bool:
        """Return True if a login page is in the way now. `apply` makes the host as `way` says. Raises LocalError."""
        now = self._clock()
        if self.portal is None and now - self._looked_at < PAUSE:
            return False
        self._looked_at = now
        before = self.portal
        self._is_looking = True
        try:
            apply()
            self.portal = await self._find(path)
            if self.portal is not None:
                self.since = self.since if before is not None else now
                self.portal = await self._at_its_end(self.portal)
        finally:
            self._is_looking = False
            apply()
        return self.portal is not None

    async def _find(self, path: Uplinks) -> Portal | None:
        names = ServerNames(self._sockets, self._outer)
        said = await self._ask_api(path, names)
        if said is not None:
            return said
        found = await asyncio.gather(*(self._probe(url, names) for url in self._probes))
        if any(is_open for is_open, _, _ in found):
            return None
        portal = next((portal for _, portal, _ in found if portal is not None), None)
        if portal is None and all_point_home({str(index): addresses for index, (_, _, addresses) in enumerate(found)}):
            portal = Portal(self._probes[0], PortalSign.NAMES)
        return portal

    async def _ask_api(self, path: Uplinks, names: ServerNames) -> Portal | None:
        """What the network says itself, where it does (RFC 8908)."""
        for uplink in path.uplinks:
            url = await asyncio.to_thread(self._api, uplink.interface, uplink.index)
            if url is None:
                continue
            with suppress(RemoteError, BadPacket):
                page = portal_of_api_untrusted((await fetch(url, names, self._sockets, _API)).body)
                return None if page is None else Portal(page or url, PortalSign.OPTION)
        return None

    async def _probe(self, url: str, names: ServerNames) -> tuple[bool, Portal | None, Sequence[str]]:
        """True if nothing is in the way, the login page that answered, and the addresses of the name."""
        addresses: list[str] = []
        with suppress(RemoteError):
            host = parse_web_address(url).host
            if not _is_number(host):
                addresses = [str(address.sockaddr[0]) for address in await names.within(host, 80)]
            answer = await fetch(url, names, self._sockets)
            return is_clean(answer), portal_of(url, answer), addresses
        return False, None, addresses

    async def _at_its_end(self, portal: Portal) -> Portal:
        """The same with the page that its redirects end at, whose ports are let out too."""
        if self._followed is None or self._followed[0] != portal.url:
            self._followed = portal.url, await self._follow(portal.url)
        return Portal(self._followed[1], portal.sign)

    async def _follow(self, url: str) -> str:
        names, cookies = ServerNames(self._sockets, self._outer), dict[str, str]()
        first = url
        self.endless = None
        for _ in range(MOST_REDIRECTS):
            parts = parse_web_address(url.partition("#")[0])
            if parts.port is not None:
                self._ports |= {parts.port}
            headers = {"Cookie": cookies[parts.host]} if parts.host in cookies else {}
            try:
                answer = await fetch(url.partition("#")[0], names, self._sockets, headers)
            except RemoteError:
                return url  # a browser may say more of it, of a certificate above all
            if cookie := answer.headers.get("set-cookie", "").partition(";")[0]:
                cookies[parts.host] = cookie
            following = redirect_untrusted(url, answer)
            if following is None:
                return url
            url = following
        self.endless = (
            f"this network's login page leads from page to page and to no end: {first} ({MOST_REDIRECTS} redirects)"
        )
        return first


def _may_want_login(path: Uplinks) -> bool:
    return any(
        interface_type(each.interface) is InterfaceType.WIFI or portal_api(each.interface, each.index)
        for each in path.uplinks
    )


def _is_number(host: str) -> bool:
    with suppress(ValueError):
        ip_address(host)
        return True
    return False
