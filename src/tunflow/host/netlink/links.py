"""The network interfaces of this host: which there are, which lead out, and setting one up.

An *uplink* is an interface that a default route leads through. A *local* one leads to something inside this machine:
a bridge of containers or virtual machines, another tunnel. What a local interface sends out in the end leaves by an
uplink, in packets that are looked at again.

Read first: rtnetlink(7); Linux include/uapi/linux/{if_link,if_addr}.h.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunflow.addresses import ip_interface
from tunflow.host.netlink.messages import (
    ADDRESS,
    IFA_ADDRESS,
    IFA_F_NODAD,
    IFA_F_NOPREFIXROUTE,
    IFA_FLAGS,
    IFA_LOCAL,
    IFF_LOOPBACK,
    IFF_LOWER_UP,
    IFF_UP,
    IFLA_IFNAME,
    IFLA_INFO_KIND,
    IFLA_LINKINFO,
    IFLA_MASTER,
    IFLA_MTU,
    LINK,
    NLM_F_CREATE,
    NLM_F_REPLACE,
    RT_SCOPE_UNIVERSE,
    RTM_DELADDR,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_NEWADDR,
    attribute,
    attributes,
    number,
    number_attribute,
    text,
)
from tunflow.host.netlink.setup import NO_IPV6, QUEUE, forgo_link_local, set_mtu, set_queue, set_up
from tunflow.host.netlink.socket import NetlinkRequest, RouteSocket
from tunflow.host.network.settings import Interface

_INSIDE = frozenset(("bridge", "dummy", "tun", "wireguard", "ipvlan", "nlmon", "vcan", "ifb"))
"""Kinds of interface that have nothing of their own outside. A veth is not one: its other end may be anything."""
_NO_ADDRESS = frozenset((errno.EADDRNOTAVAIL, errno.ENODEV))


@dataclass(frozen=True, slots=True)
class NetworkInterface:
    """One interface. `kind` is "" for hardware; `master` is the index of the bridge or bond it is a port of, or 0."""

    index: int
    name: str
    kind: str
    mtu: int
    is_up: bool
    master: int = 0
    has_carrier: bool = True
    """True if packets can leave it now."""
    is_loopback: bool = False


def list_links(route: RouteSocket) -> dict[int, NetworkInterface]:
    """Every interface by index. Raises OSError."""
    found = {}
    for body in route.dump(RTM_GETLINK, LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
        _, _, index, flags, _ = LINK.unpack_from(body)
        fields = attributes(body, LINK.size)
        info = attributes(fields.get(IFLA_LINKINFO, b""), 0)
        found[index] = NetworkInterface(
            index=index,
            name=text(fields.get(IFLA_IFNAME, b"")),
            kind=text(info.get(IFLA_INFO_KIND, b"")),
            mtu=number(fields.get(IFLA_MTU)) or 0,
            is_up=bool(flags & IFF_UP),
            master=number(fields.get(IFLA_MASTER)) or 0,
            has_carrier=bool(flags & IFF_LOWER_UP),
            is_loopback=bool(flags & IFF_LOOPBACK),
        )
    return found


def inside_links(links: Mapping[int, NetworkInterface], uplinks: frozenset[int]) -> tuple[str, ...]:
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
    for body in route.dump(RTM_GETADDR, ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
        _, prefix, _, _, owner = ADDRESS.unpack_from(body)
        if owner == index:
            fields = attributes(body, ADDRESS.size)
            address = ip_interface((fields.get(IFA_LOCAL) or fields[IFA_ADDRESS], prefix))
            if not address.is_link_local:
                found.add(address)
    return found


def configure_tunnel(route: RouteSocket, name: str, addresses: Sequence[Interface], mtu: int) -> None:
    """Bring the TUN device `name` up with exactly these addresses, and no routes of its own. Raises OSError."""
    index = socket.if_nametoindex(name)
    link = list_links(route)[index]
    if link.mtu != mtu:
        set_mtu(route, index, mtu)
    if not link.is_up:
        set_queue(route, index, QUEUE)
        try:
            forgo_link_local(route, index)
        except OSError as error:
            if error.errno not in NO_IPV6:
                raise
        set_up(route, index)
    there = list_addresses(route, index)
    wanted = set(addresses)
    route.send([_address_request(RTM_DELADDR, 0, index, address) for address in sorted(there - wanted, key=str)])
    for address in sorted(wanted - there, key=str):
        route.send([_address_request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, index, address)])


def remove_addresses(route: RouteSocket, name: str) -> None:
    """Take all addresses from the interface `name`, if there is such an interface. Raises OSError."""
    for index, link in list_links(route).items():
        if link.name == name:
            there = sorted(list_addresses(route, index), key=str)
            route.send([_address_request(RTM_DELADDR, 0, index, address) for address in there], ignored=_NO_ADDRESS)


def _address_request(kind: int, flags: int, index: int, address: Interface) -> NetlinkRequest:
    """Without the route to its own network that the kernel would put into the main table, and usable at once."""
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    own = IFA_F_NOPREFIXROUTE | (IFA_F_NODAD if address.version == 6 else 0)
    body = ADDRESS.pack(family, address.network.prefixlen, 0, RT_SCOPE_UNIVERSE, index)
    body += attribute(IFA_LOCAL, address.packed) + attribute(IFA_ADDRESS, address.packed)
    body += number_attribute(IFA_FLAGS, own)
    tried = "add" if kind == RTM_NEWADDR else "remove"
    return NetlinkRequest(kind, flags, body, f"{tried} the tunnel's address {address}")
