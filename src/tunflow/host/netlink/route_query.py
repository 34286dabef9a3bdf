"""Asks the kernel how a packet of ours would leave (RTM_GETROUTE), which interface holds which address, and which
hardware address a neighbour has.

No packet is sent. These are asked at every change of the network, when the tunnel should be back at once.
"""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass

from tunflow.host.netlink.links import NetworkInterface, list_links
from tunflow.host.netlink.messages import (
    ADDRESS,
    IFA_ADDRESS,
    IFA_LOCAL,
    NDA_DST,
    NDA_LLADDR,
    NEIGHBOUR,
    NUD_VALID,
    ROUTE,
    RTA_DST,
    RTA_GATEWAY,
    RTA_MARK,
    RTA_OIF,
    RTA_PREFSRC,
    RTA_SRC,
    RTA_VIA,
    RTM_GETADDR,
    RTM_GETNEIGH,
    RTM_GETROUTE,
    RTN_ANYCAST,
    RTN_BROADCAST,
    RTN_LOCAL,
    RTN_MULTICAST,
    RTN_UNICAST,
    attribute,
    attributes,
    number,
    number_attribute,
)
from tunflow.host.netlink.socket import RouteSocket

_HERE = {RTN_LOCAL, RTN_BROADCAST, RTN_ANYCAST, RTN_MULTICAST}

_NO_ROUTE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EINVAL, errno.EACCES, errno.ENODEV, errno.EADDRNOTAVAIL}
"""What the kernel answers where no packet would leave: no route, or (EINVAL) not from that source."""


@dataclass(frozen=True, slots=True)
class NextHop:
    """How packets to an address leave: `source` and `gateway` are packed addresses."""

    interface: int
    source: bytes
    gateway: bytes | None = None


class RouteQuery:
    """Questions to the routing of the current network namespace; a context manager."""

    def __init__(self) -> None:
        self._route_socket = RouteSocket()

    def __enter__(self) -> RouteQuery:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptor back."""
        self._route_socket.close()

    def route(self, target: bytes, mark: int = 0, source: bytes | None = None) -> NextHop | None:
        """Return how packets with `mark` leave for a packed address; None when they do not. Raises OSError."""
        answer = self._ask(target, mark, source)
        return None if answer is None else _next_hop(answer, source)

    def is_delivered_here(self, target: bytes) -> bool:
        """Return True if packets to the packed address end at this host, or at everybody on a link. Raises OSError."""
        answer = self._ask(target, 0, None)
        return answer is not None and ROUTE.unpack_from(answer)[7] in _HERE

    def _ask(self, target: bytes, mark: int, source: bytes | None) -> bytes | None:
        family = socket.AF_INET if len(target) == 4 else socket.AF_INET6
        bits = len(target) * 8
        body = ROUTE.pack(family, bits, bits if source else 0, 0, 0, 0, 0, 0, 0) + attribute(RTA_DST, target)
        if source is not None:
            body += attribute(RTA_SRC, source)
        if mark:
            body += number_attribute(RTA_MARK, mark)
        try:
            return self._route_socket.ask(RTM_GETROUTE, body)
        except OSError as error:
            if error.errno in _NO_ROUTE:
                return None
            raise

    def addresses(self) -> dict[bytes, int]:
        """Return every local address, packed, with the index of its interface. Raises OSError."""
        found: dict[bytes, int] = {}
        for body in self._route_socket.dump(RTM_GETADDR, ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
            fields = attributes(body, ADDRESS.size)
            address = fields.get(IFA_LOCAL) or fields.get(IFA_ADDRESS)
            if address is not None:
                found[address] = ADDRESS.unpack_from(body)[4]
        return found

    def neighbour(self, address: bytes, interface: int) -> bytes | None:
        """Return the hardware address of a packed address on an interface; None when it is not known.

        Raises OSError: ENOENT when the kernel has not heard of the address there (Linux 5.0 and later answer such
        questions).
        """
        family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
        question = NEIGHBOUR.pack(family, interface, 0, 0, 0) + attribute(NDA_DST, address)
        body = self._route_socket.ask(RTM_GETNEIGH, question)
        if NEIGHBOUR.unpack_from(body)[2] & NUD_VALID:
            return attributes(body, NEIGHBOUR.size).get(NDA_LLADDR)
        return None

    def links(self) -> dict[int, NetworkInterface]:
        """Return every interface by index. Raises OSError."""
        return list_links(self._route_socket)


def _next_hop(body: bytes, source: bytes | None) -> NextHop | None:
    kind = ROUTE.unpack_from(body)[7]
    fields = attributes(body, ROUTE.size)
    interface = number(fields.get(RTA_OIF))
    if kind not in {RTN_UNICAST, RTN_LOCAL} or interface is None:
        return None  # unreachable, prohibit, blackhole
    gateway = fields.get(RTA_GATEWAY) or fields.get(RTA_VIA, b"")[2:] or None
    return NextHop(interface, fields.get(RTA_PREFSRC) or source or b"", gateway)
