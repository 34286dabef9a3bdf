"""The network interfaces of this host: which there are, which lead out, and setting one up.

An *uplink* is an interface that a default route leads through. A *local* one leads to something inside this machine:
a bridge of containers or virtual machines, another tunnel. What a local interface sends out in the end leaves by an
uplink, in packets that are looked at again.

Read first: rtnetlink(7); Linux include/uapi/linux/{if_link,if_addr}.h.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunflow.addresses import ip_interface
from tunflow.host.netlink.socket import (
    IFA_ADDRESS,
    IFA_F_NODAD,
    IFA_LOCAL,
    IFLA_MTU,
    NLM_F_CREATE,
    NLM_F_REPLACE,
    RT_SCOPE_UNIVERSE,
    RTM_NEWADDR,
    Request,
    RouteSocket,
    attribute,
    attributes,
)
from tunflow.host.network.settings import Interface

RTM_GETLINK = 18
RTM_DELADDR = 21
RTM_GETADDR = 22

IFLA_IFNAME = 3
IFLA_LINK = 5
IFLA_MASTER = 10
IFLA_LINKINFO = 18
IFLA_INFO_KIND = 1
IFA_FLAGS = 8
IFA_F_NOPREFIXROUTE = 0x200
IFF_UP = 1

QUEUE = 5000
"""Packets that may wait for us in the TUN; see `host.program.netconfig`, which has the same need."""

_LINK = struct.Struct("=BxHiII")
"""struct ifinfomsg: family, ARP type, index, flags, change."""
_ADDRESS = struct.Struct("=BBBBi")
"""struct ifaddrmsg: family, prefix length, flags, scope, index."""
_INSIDE = frozenset(("bridge", "dummy", "tun", "wireguard", "ipvlan", "nlmon", "vcan", "ifb"))
"""Kinds of interface that have nothing of their own outside. A veth is not one: its other end may be anything."""


@dataclass(frozen=True, slots=True)
class Link:
    """One interface. `kind` is "" for hardware; `master` is the index of the bridge or bond it is a port of, or 0."""

    index: int
    name: str
    kind: str
    mtu: int
    is_up: bool
    master: int


def list_links(route: RouteSocket) -> dict[int, Link]:
    """Every interface by index. Raises OSError."""
    found = {}
    for body in route.dump(RTM_GETLINK, _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
        _, _, index, flags, _ = _LINK.unpack_from(body)
        fields = attributes(body, _LINK.size)
        info = attributes(fields.get(IFLA_LINKINFO, b""), 0)
        found[index] = Link(
            index=index,
            name=_text(fields[IFLA_IFNAME]),
            kind=_text(info.get(IFLA_INFO_KIND, b"")),
            mtu=_number(fields.get(IFLA_MTU, bytes(4))),
            is_up=bool(flags & IFF_UP),
            master=_number(fields.get(IFLA_MASTER, bytes(4))),
        )
    return found


def inside_links(links: Mapping[int, Link], uplinks: frozenset[int]) -> tuple[str, ...]:
    """The names of the local interfaces, sorted: neither uplinks nor hardware, nor with a port that may be."""
    ported = {
        link.master
        for link in links.values()
        if link.master and (link.index in uplinks or link.kind not in ("veth", "tun"))
    }
    return tuple(
        sorted(
            link.name
            for link in links.values()
            if link.kind in _INSIDE and link.index not in uplinks and link.index not in ported
        )
    )


def list_addresses(route: RouteSocket, index: int) -> set[Interface]:
    """The addresses of one interface, without IPv6 link-local ones. Raises OSError."""
    found: set[Interface] = set()
    for body in route.dump(RTM_GETADDR, _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
        _, prefix, _, _, owner = _ADDRESS.unpack_from(body)
        if owner == index:
            fields = attributes(body, _ADDRESS.size)
            address = ip_interface((fields.get(IFA_LOCAL) or fields[IFA_ADDRESS], prefix))
            if not address.is_link_local:
                found.add(address)
    return found


def configure_tunnel(route: RouteSocket, name: str, addresses: Sequence[Interface], mtu: int) -> None:
    """Bring the TUN device `name` up with exactly these addresses, and no routes of its own. Raises OSError."""
    index = socket.if_nametoindex(name)
    link = list_links(route)[index]
    if link.mtu != mtu:
        route.set_mtu(index, mtu)
    if not link.is_up:
        route.set_queue(index, QUEUE)
        try:
            route.forgo_link_local(index)
        except OSError as error:
            if error.errno not in NO_IPV6:
                raise
        route.set_up(index)
    there = list_addresses(route, index)
    wanted = set(addresses)
    route.send([_address_request(RTM_DELADDR, 0, index, address) for address in sorted(there - wanted, key=str)])
    for address in sorted(wanted - there, key=str):
        route.send([_address_request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, index, address)])


NO_IPV6 = frozenset((errno.EAFNOSUPPORT, errno.EOPNOTSUPP, errno.EACCES, errno.EPERM))
"""What the kernel answers where IPv6 is compiled out, or switched off by `ipv6.disable=1` or `disable_ipv6`."""


def _address_request(kind: int, flags: int, index: int, address: Interface) -> Request:
    """Without the route to its own network that the kernel would put into the main table, and usable at once."""
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    own = IFA_F_NOPREFIXROUTE | (IFA_F_NODAD if address.version == 6 else 0)
    body = _ADDRESS.pack(family, address.network.prefixlen, 0, RT_SCOPE_UNIVERSE, index)
    body += attribute(IFA_LOCAL, address.packed) + attribute(IFA_ADDRESS, address.packed)
    body += attribute(IFA_FLAGS, struct.pack("=I", own))
    tried = "add" if kind == RTM_NEWADDR else "remove"
    return Request(kind, flags, body, f"{tried} the tunnel's address {address}")


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")


def _number(value: bytes) -> int:
    (number,) = struct.unpack_from("=I", value)
    return int(number)
