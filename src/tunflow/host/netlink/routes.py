"""Routes of one table: listing, and turning what is there into what is wanted.

Read first: rtnetlink(7), ip-route(8); Linux include/uapi/linux/rtnetlink.h.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunflow.addresses import ip_network
from tunflow.host.netlink.messages import (
    FAMILIES,
    NEXT_HOP,
    NLM_F_CREATE,
    NLM_F_REPLACE,
    ROUTE,
    RT_SCOPE_LINK,
    RT_SCOPE_NOWHERE,
    RT_SCOPE_UNIVERSE,
    RT_TABLE_UNSPEC,
    RTA_DST,
    RTA_GATEWAY,
    RTA_METRICS,
    RTA_MULTIPATH,
    RTA_OIF,
    RTA_TABLE,
    RTAX_CC_ALGO,
    RTM_DELROUTE,
    RTM_F_CLONED,
    RTM_GETROUTE,
    RTM_NEWROUTE,
    RTN_THROW,
    RTN_UNICAST,
    RTN_UNREACHABLE,
    RTPROT_KERNEL,
    RTPROT_RA,
    attribute,
    attributes,
    number_attribute,
)
from tunflow.host.netlink.socket import NetlinkRequest, RouteSocket
from tunflow.host.network.settings import Network

PROTOCOL = 158
"""Who made a route or a rule (`proto 158` in ip(8)): no number that rt_protos(5) gives to anybody.

Routes without a device, and rules, say that they are the kernel's (`proto kernel`): systemd-networkd removes what it
does not know when it sets a link up anew, and some packets would go around the tunnel until it is back.
"""

_CONGESTION_CONTROLS = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")
_GONE = frozenset((errno.ESRCH, errno.ENOENT))


@dataclass(frozen=True, slots=True)
class RouteTarget:
    """Where a route leads: through the interfaces `devices`, or for the kinds THROW and UNREACHABLE nowhere."""

    kind: int
    devices: tuple[int, ...] = ()


THROW = RouteTarget(RTN_THROW)
UNREACHABLE = RouteTarget(RTN_UNREACHABLE)
_WITHOUT_DEVICE = {way.kind: way for way in (THROW, UNREACHABLE)}


@dataclass(frozen=True, slots=True)
class Route:
    """A route of any table, as far as it matters here. `is_connected`: the network of an interface's own address."""

    destination: Network
    way: RouteTarget
    table: int
    protocol: int
    is_connected: bool


def list_routes(route: RouteSocket, version: int, table: int | None = None, *, but: Sequence[int] = ()) -> list[Route]:
    """The routes of IP `version` in one table, or in all `but` some. Raises OSError."""
    return [
        Route(
            destination=ip_network((packed, length)),
            way=way,
            table=found,
            protocol=protocol,
            is_connected=is_direct and protocol in (RTPROT_KERNEL, RTPROT_RA),
        )
        for packed, length, way, found, protocol, is_direct in _dump(route, version, table)
        if found not in but and table in (None, found)
    ]


def has_foreign_routes(route: RouteSocket, version: int, table: int) -> bool:
    """Return True if somebody else has routes in `table`. Raises OSError."""
    return any(
        found == table and not _is_ours(way, protocol) for _, _, way, found, protocol, _ in _dump(route, version, table)
    )


def _is_ours(way: RouteTarget, protocol: int) -> bool:
    """Return True if such a route in a table of ours is ours."""
    return protocol in (PROTOCOL, _protocol(way))


def _protocol(way: RouteTarget) -> int:
    return RTPROT_KERNEL if way.kind in _WITHOUT_DEVICE else PROTOCOL


_Entry = tuple[bytes, int, RouteTarget, int, int, bool]
"""Packed destination, prefix length, way, table, protocol, and whether it leads to an interface without a gateway."""


def _dump(route: RouteSocket, version: int, table: int | None = None) -> Iterator[_Entry]:
    """The routes of one table, or of all; where the kernel cannot choose, of more than asked for. Raises OSError."""
    family = FAMILIES[version]
    body = ROUTE.pack(family, 0, 0, 0, RT_TABLE_UNSPEC, 0, 0, 0, 0)
    if table is not None:
        body += number_attribute(RTA_TABLE, table)
    try:
        answers = route.dump(RTM_GETROUTE, body)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EOPNOTSUPP, errno.EAFNOSUPPORT):  # a table that has never been used
            return
        raise
    for answer in answers:
        if answer[0] == family:
            entry = _parse(answer)
            if entry is not None:
                yield entry


def _parse(body: bytes) -> _Entry | None:
    family, length, _, _, table, protocol, _, kind, flags = ROUTE.unpack_from(body)
    if flags & RTM_F_CLONED:
        return None
    fields = attributes(body, ROUTE.size)
    if RTA_TABLE in fields:
        (table,) = struct.unpack_from("=I", fields[RTA_TABLE])
    packed = fields.get(RTA_DST, bytes(4 if family == socket.AF_INET else 16))
    if kind != RTN_UNICAST:  # IPv6 names the loopback as the device of such a route
        return packed, length, _WITHOUT_DEVICE.get(kind) or RouteTarget(kind), table, protocol, False
    devices = struct.unpack_from("=i", fields[RTA_OIF]) if RTA_OIF in fields else _nexthops(fields)
    is_direct = RTA_GATEWAY not in fields and RTA_MULTIPATH not in fields
    return packed, length, RouteTarget(kind, devices), table, protocol, is_direct


def _nexthops(fields: Mapping[int, bytes]) -> tuple[int, ...]:
    hops = fields.get(RTA_MULTIPATH, b"")
    devices = []
    offset = 0
    while offset + NEXT_HOP.size <= len(hops):
        length, _, _, device = NEXT_HOP.unpack_from(hops, offset)
        devices.append(device)
        offset += max(length, NEXT_HOP.size) + 3 & ~3
    return tuple(devices)


def set_table(route: RouteSocket, version: int, table: int, wanted: Mapping[Network, RouteTarget]) -> None:
    """Make our routes in `table` exactly `wanted`. What is new comes before what is old goes. Raises OSError."""
    there = {
        (packed, length): (way, protocol)
        for packed, length, way, found, protocol, _ in _dump(route, version, table)
        if found == table and _is_ours(way, protocol)
    }
    metrics = _local_hop_metrics()
    new = []
    for destination, way in wanted.items():
        made = (way, _protocol(way))
        if there.pop((destination.network_address.packed, destination.prefixlen), None) != made:
            new.append(_request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, destination, made, table, metrics))
    route.send(new)
    old = [
        _request(RTM_DELROUTE, 0, ip_network((packed, length)), made, table) for (packed, length), made in there.items()
    ]
    route.send(old, ignored=_GONE)


def _local_hop_metrics() -> bytes:
    """Have TCP use CUBIC on the way into the device, whatever the host's default.

    That hop is local and lossless, so the pacing of BBR would only cost time there. The real path belongs to our own
    sockets, which keep the host's.
    """
    try:
        available = _CONGESTION_CONTROLS.read_text(encoding="ascii").split()
    except OSError:
        return b""
    return attribute(RTA_METRICS, attribute(RTAX_CC_ALGO, b"cubic\0")) if "cubic" in available else b""


def _request(
    kind: int, flags: int, destination: Network, made: tuple[RouteTarget, int], table: int, metrics: bytes = b""
) -> NetlinkRequest:
    way, protocol = made
    version, length = destination.version, destination.prefixlen
    scope = RT_SCOPE_LINK if version == 4 and way.devices else RT_SCOPE_UNIVERSE
    if kind == RTM_DELROUTE:
        scope = RT_SCOPE_NOWHERE
    body = ROUTE.pack(FAMILIES[version], length, 0, 0, RT_TABLE_UNSPEC, protocol, scope, way.kind, 0)
    body += number_attribute(RTA_TABLE, table)
    body += attribute(RTA_DST, destination.network_address.packed)
    if way.devices:
        body += attribute(RTA_OIF, struct.pack("=i", way.devices[0])) + metrics
    tried = "add" if kind == RTM_NEWROUTE else "remove"
    return NetlinkRequest(kind, flags, body, f"{tried} the route to {destination} in table {table}")
