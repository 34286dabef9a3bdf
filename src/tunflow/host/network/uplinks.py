"""The way out of this host as it is now: which interface, address and gateway packets of the tunnel's own leave by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tunflow.addresses import ip_address
from tunflow.host.netlink.links import NetworkInterface
from tunflow.host.netlink.route_query import NextHop, RouteQuery

ANYWHERE = (bytes([203, 0, 113, 1]), bytes.fromhex("20010db8000000000000000000000001"))
"""What is looked up where there is no server: any address out there will do (RFC 5737, RFC 3849), no packet is sent."""


@dataclass(frozen=True, slots=True)
class Uplink:
    """One family's way out."""

    interface: str
    index: int
    source: bytes
    gateway: bytes | None

    def __str__(self) -> str:
        via = f" via {ip_address(self.gateway)}" if self.gateway else ""
        return f"{self.interface}{via} from {ip_address(self.source)}"


@dataclass(frozen=True, slots=True)
class Uplinks:
    """The ways out, by family (4 and 16 bytes); empty when there is none."""

    uplinks: tuple[Uplink, ...] = ()

    @property
    def is_satisfied(self) -> bool:
        """True if packets can leave at all."""
        return bool(self.uplinks)

    def __str__(self) -> str:
        return " and ".join(map(str, self.uplinks)) or "no network"


@dataclass(frozen=True, slots=True)
class _Look:
    links: dict[int, NetworkInterface]
    addresses: dict[bytes, int]


class PathFinder:
    """Looks the way out up, for packets with the tunnel's `mark`. `own` is the tunnel's interface, never the way."""

    def __init__(self, query: RouteQuery, mark: int, own: str) -> None:
        self._query = query
        self._mark = mark
        self._own = own

    def look(self, servers: Sequence[bytes]) -> Uplinks:
        """The path to `servers` (packed addresses), or to anywhere without one. Raises OSError."""
        now = self._now()
        uplinks: dict[tuple[int, int], Uplink] = {}
        for target in servers or ANYWHERE:
            route = self._query.route(target, self._mark)
            link = self._usable(route, now)
            if route is not None and link is not None:
                key = (len(target), route.interface)
                uplinks.setdefault(key, Uplink(link.name, link.index, route.source, route.gateway))
        return Uplinks(tuple(uplinks.values()))

    def surviving(self, pairs: set[tuple[bytes, bytes]]) -> set[tuple[bytes, bytes]]:
        """Those (local address, far address) whose packets still leave where their address is at home. Raises OSError.

        A route from a source that lives on another interface is none: the next router drops such packets, or a NAT
        there makes strangers of them.
        """
        now = self._now()
        return {pair for pair in pairs if self._survives(*pair, now)}

    def local(self) -> set[bytes]:
        """Every address of this host, packed. Raises OSError."""
        return set(self._query.addresses())

    def _survives(self, local: bytes, far: bytes, now: _Look) -> bool:
        home = now.addresses.get(local)
        if home is None:
            return False
        route = self._query.route(far, self._mark, local)
        if route is None or self._usable(route, now) is None:
            return False
        return route.interface == home or now.links[home].is_loopback

    def _usable(self, route: NextHop | None, now: _Look) -> NetworkInterface | None:
        link = now.links.get(route.interface) if route is not None else None
        return link if link is not None and (link.has_carrier or link.is_loopback) and link.name != self._own else None

    def _now(self) -> _Look:
        return _Look(self._query.links(), self._query.addresses())
