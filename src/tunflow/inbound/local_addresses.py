"""What a server opens for nobody unless it is told to: this host's own addresses, and those of its links.

A client that names `127.0.0.1` or an address of the server's would reach what listens there for the host alone, past
every firewall; one that names `169.254.169.254` would get the credentials of a cloud's machine. Asked with each address
that is about to be used, after names are resolved: a name may mean something else each time.

Read first: RFC 6890 §2.2, RFC 4291 §2.5 and §2.7, RFC 3927 (link-local).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from tunflow.addresses import ip_address
from tunflow.host.netlink.route_query import RouteQuery
from tunflow.stack.martians import may_be_destination

V4_IN_V6 = bytes(10) + b"\xff\xff"
"""RFC 4291 §2.5.5.2: how an IPv4 address is written in a field for IPv6."""

LINK_LOCAL = b"\xa9\xfe"
"""169.254.0.0/16; IPv6's fe80::/10 is among the martians."""

METADATA = frozenset(
    ip_address(text).packed for text in ("fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
)
"""Where clouds tell a machine its secrets, besides 169.254.169.254: Amazon by IPv6, Alibaba, Azure, Oracle."""

KEPT_SECONDS = 5.0
"""For how long an answer of the kernel is used again: each datagram of a flow asks."""

KEPT_AT_MOST = 1024


class LocalAddresses:
    """A container of packed addresses; `clock` gives seconds on a monotonic scale."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: dict[bytes, tuple[float, bool]] = {}

    def __contains__(self, address: object) -> bool:
        """Return True if it is this host's address, its links' or a group's, also IPv4 in IPv6 notation."""
        if not isinstance(address, bytes):
            return False
        if address.startswith(V4_IN_V6):
            address = address[12:]
        if not may_be_destination(address) or (len(address) == 4 and address.startswith(LINK_LOCAL)):
            return True
        return address in METADATA or self._is_own(address)

    def _is_own(self, address: bytes) -> bool:
        now = self._clock()
        until, own = self._kept.get(address, (now, False))
        if now < until:
            return own
        own = False
        with suppress(OSError), RouteQuery() as query:  # without a route it is reached by nobody
            own = query.is_delivered_here(address)
        if len(self._kept) >= KEPT_AT_MOST:
            self._kept.clear()
        self._kept[address] = (now + KEPT_SECONDS, own)
        return own
