"""Setting an interface up: its MTU, queue, addresses and default route.

The private network of a program needs no more than this, so that it loads nothing else.
"""

from __future__ import annotations

import errno
import socket
import struct

from tunflow.host.netlink.messages import (
    ADDRESS,
    IFA_ADDRESS,
    IFA_F_NODAD,
    IFA_LOCAL,
    IFF_UP,
    IFLA_AF_SPEC,
    IFLA_INET6_ADDR_GEN_MODE,
    IFLA_MTU,
    IFLA_TXQLEN,
    IN6_ADDR_GEN_MODE_NONE,
    LINK,
    NLM_F_CREATE,
    NLM_F_EXCL,
    ROUTE,
    RT_SCOPE_LINK,
    RT_SCOPE_UNIVERSE,
    RT_TABLE_MAIN,
    RTA_OIF,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWROUTE,
    RTN_UNICAST,
    RTPROT_BOOT,
    attribute,
    number_attribute,
)
from tunflow.host.netlink.socket import NetlinkRequest, RouteSocket

QUEUE = 5000
"""Packets that may wait for us in the TUN. The kernel's 500 lose SYNs when a program opens a thousand connections at
once, and each comes again only after a second; what can wait is bounded by the senders' own socket buffers."""

NO_IPV6 = frozenset((errno.EAFNOSUPPORT, errno.EOPNOTSUPP, errno.EACCES, errno.EPERM))
"""What the kernel answers where IPv6 is compiled out, or switched off by `ipv6.disable=1` or `disable_ipv6`."""


def set_mtu(route: RouteSocket, index: int, mtu: int) -> None:
    """Set a link's MTU in bytes. Raises OSError."""
    _link(route, index, 0, number_attribute(IFLA_MTU, mtu), f"set the MTU of link {index}")


def set_queue(route: RouteSocket, index: int, packets: int) -> None:
    """Set how many packets may wait in a link's send queue. Raises OSError."""
    _link(route, index, 0, number_attribute(IFLA_TXQLEN, packets), f"set the queue of link {index}")


def forgo_link_local(route: RouteSocket, index: int) -> None:
    """Have IPv6 make no link-local address of its own on a link, so it solicits no router. Raises OSError."""
    mode = attribute(IFLA_INET6_ADDR_GEN_MODE, struct.pack("=B", IN6_ADDR_GEN_MODE_NONE))
    spec = attribute(IFLA_AF_SPEC, attribute(socket.AF_INET6, mode))
    _link(route, index, 0, spec, f"turn off link-local addresses of link {index}")


def set_up(route: RouteSocket, index: int) -> None:
    """Bring a link up. Raises OSError."""
    _link(route, index, IFF_UP, b"", f"bring up link {index}")


def add_address(route: RouteSocket, index: int, address: str, prefix: int) -> None:
    """Give a link an address with its prefix length, usable at once. Raises OSError."""
    family, packed = _packed(address)
    flags = IFA_F_NODAD if family == socket.AF_INET6 else 0
    body = ADDRESS.pack(family, prefix, flags, RT_SCOPE_UNIVERSE, index)
    body += attribute(IFA_LOCAL, packed) + attribute(IFA_ADDRESS, packed)
    _request(route, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, body, f"add address {address}/{prefix}")


def add_default_route(route: RouteSocket, index: int, family: socket.AddressFamily) -> None:
    """Send all that has no other route out of a link, without a gateway. Raises OSError."""
    scope = RT_SCOPE_LINK if family == socket.AF_INET else RT_SCOPE_UNIVERSE
    body = ROUTE.pack(family, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, scope, RTN_UNICAST, 0)
    body += number_attribute(RTA_OIF, index)
    _request(route, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, body, f"add the {family.name} default route")


def _link(route: RouteSocket, index: int, flags: int, attributes: bytes, tried: str) -> None:
    body = LINK.pack(socket.AF_UNSPEC, 0, index, flags, flags)
    _request(route, RTM_NEWLINK, 0, body + attributes, tried)


def _request(route: RouteSocket, kind: int, flags: int, body: bytes, tried: str) -> None:
    route.send([NetlinkRequest(kind, flags, body, tried)])


def _packed(address: str) -> tuple[socket.AddressFamily, bytes]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return family, socket.inet_pton(family, address)
