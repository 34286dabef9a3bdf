"""Rules of the routing policy database: listing, and turning what is there into what is wanted.

Read first: ip-rule(8); Linux include/uapi/linux/fib_rules.h, net/core/fib_rules.c.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from tunflow.addresses import ip_network
from tunflow.host.netlink.messages import (
    FAMILIES,
    FR_ACT_GOTO,
    FR_ACT_NOP,
    FR_ACT_TO_TBL,
    FR_ACT_UNREACHABLE,
    FRA_DPORT_RANGE,
    FRA_DST,
    FRA_FWMARK,
    FRA_FWMASK,
    FRA_GOTO,
    FRA_IIFNAME,
    FRA_IP_PROTO,
    FRA_PRIORITY,
    FRA_PROTOCOL,
    FRA_SPORT_RANGE,
    FRA_SUPPRESS_PREFIXLEN,
    FRA_TABLE,
    NLM_F_CREATE,
    NLM_F_EXCL,
    RTM_DELRULE,
    RTM_GETRULE,
    RTM_NEWRULE,
    RTPROT_KERNEL,
    RULE,
    attribute,
    attributes,
    number,
    number_attribute,
    text,
)
from tunflow.host.netlink.routes import PROTOCOL
from tunflow.host.netlink.socket import NetlinkRequest, RouteSocket
from tunflow.host.network.settings import PRIORITY, RULES, Network

OURS = range(PRIORITY, PRIORITY + RULES)
"""Rules of the kernel's protocol are ours there: its own are at 0, 1000, 32766 and 32767."""

_PORTS = struct.Struct("=HH")
_NO_SUPPRESSION = 0xFFFFFFFF
_IPPROTO_UDP = 17
_THERE = frozenset((errno.EEXIST,))
_GONE = frozenset((errno.ENOENT,))


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """One rule: all its selectors have to match. `table` None means the destination is unreachable, unless the rule
    goes on at the rule of priority `goto`, or is such a `landing`, which does nothing.

    `suppress` makes routes with a prefix of that length or shorter not count. `ports` is the UDP source and
    destination port, `port` the destination port of any protocol that has ports.

    `protocol` says who made it. Systemd-networkd removes all rules but its own and the kernel's when it sets a link up
    anew; until they are back everything goes around the tunnel. So ours say that they are the kernel's.
    """

    version: int
    priority: int
    table: int | None
    mark: int | None = None
    device: str | None = None
    destination: Network | None = None
    ports: tuple[int, int] | None = None
    suppress: int | None = None
    port: int | None = None
    goto: int | None = None
    landing: bool = False
    protocol: int = RTPROT_KERNEL


def list_rules(route: RouteSocket, version: int) -> list[PolicyRule]:
    """Our own rules of IP `version`, in order. Raises OSError."""
    family = FAMILIES[version]
    try:
        answers = route.dump(RTM_GETRULE, RULE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0))
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EAFNOSUPPORT):
            return []
        raise
    found = []
    for body in answers:
        fields = attributes(body, RULE.size)
        if body[0] == family and _is_ours(fields):
            found.append(_parse(version, body, fields))
    return found


def _is_ours(fields: dict[int, bytes]) -> bool:
    protocol = fields.get(FRA_PROTOCOL, b"\0")[0]
    return protocol == PROTOCOL or (protocol == RTPROT_KERNEL and number(fields.get(FRA_PRIORITY)) in OURS)


def _parse(version: int, body: bytes, fields: dict[int, bytes]) -> PolicyRule:
    _, length, _, _, _, _, _, action, _ = RULE.unpack_from(body)
    suppress = number(fields.get(FRA_SUPPRESS_PREFIXLEN))
    source, destination = (_port(fields.get(kind)) for kind in (FRA_SPORT_RANGE, FRA_DPORT_RANGE))
    ports = None
    if source is not None and destination is not None:
        ports, destination = (source, destination), None
    return PolicyRule(
        version=version,
        priority=number(fields.get(FRA_PRIORITY)) or 0,
        table=number(fields.get(FRA_TABLE)) if action == FR_ACT_TO_TBL else None,
        mark=number(fields.get(FRA_FWMARK)),
        device=text(fields[FRA_IIFNAME]) if FRA_IIFNAME in fields else None,
        destination=ip_network((fields[FRA_DST], length)) if FRA_DST in fields else None,
        ports=ports,
        suppress=None if suppress == _NO_SUPPRESSION else suppress,
        port=destination,
        goto=number(fields.get(FRA_GOTO)) if action == FR_ACT_GOTO else None,
        landing=action == FR_ACT_NOP,
        protocol=fields[FRA_PROTOCOL][0],
    )


def set_rules(route: RouteSocket, version: int, wanted: Sequence[PolicyRule]) -> None:
    """Make our rules exactly `wanted`; added first to last, and old ones removed last to first. Raises OSError.

    So whoever lists what keeps packets from a loop first and what catches them last never has one in a loop. Landings
    are there whenever somebody may go to them.
    """
    there = list_rules(route, version)
    new = sorted((rule for rule in wanted if rule not in there), key=lambda rule: not rule.landing)
    old = sorted((rule for rule in reversed(there) if rule not in wanted), key=lambda rule: rule.landing)
    route.send([_request(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, rule) for rule in new], ignored=_THERE)
    route.send([_request(RTM_DELRULE, 0, rule) for rule in old], ignored=_GONE)


def _request(kind: int, flags: int, rule: PolicyRule) -> NetlinkRequest:
    action = FR_ACT_UNREACHABLE if rule.table is None else FR_ACT_TO_TBL
    if rule.goto is not None:
        action = FR_ACT_GOTO
    elif rule.landing:
        action = FR_ACT_NOP
    length = 0 if rule.destination is None else rule.destination.prefixlen
    body = RULE.pack(FAMILIES[rule.version], length, 0, 0, 0, 0, 0, action, 0)
    body += number_attribute(FRA_PRIORITY, rule.priority)
    body += attribute(FRA_PROTOCOL, bytes((rule.protocol,)))
    if rule.table is not None:
        body += number_attribute(FRA_TABLE, rule.table)
    if rule.goto is not None:
        body += number_attribute(FRA_GOTO, rule.goto)
    if rule.mark is not None:
        body += number_attribute(FRA_FWMARK, rule.mark)
        body += number_attribute(FRA_FWMASK, 0xFFFFFFFF)
    if rule.device is not None:
        body += attribute(FRA_IIFNAME, rule.device.encode() + b"\0")
    if rule.destination is not None:
        body += attribute(FRA_DST, rule.destination.network_address.packed)
    if rule.ports is not None:
        source, destination = rule.ports
        body += attribute(FRA_IP_PROTO, bytes((_IPPROTO_UDP,)))
        body += attribute(FRA_SPORT_RANGE, _PORTS.pack(source, source))
        body += attribute(FRA_DPORT_RANGE, _PORTS.pack(destination, destination))
    if rule.port is not None:
        body += attribute(FRA_DPORT_RANGE, _PORTS.pack(rule.port, rule.port))
    if rule.suppress is not None:
        body += number_attribute(FRA_SUPPRESS_PREFIXLEN, rule.suppress)
    tried = "add" if kind == RTM_NEWRULE else "remove"
    return NetlinkRequest(kind, flags, body, f"{tried} IPv{rule.version} routing rule {rule.priority}")


def _port(value: bytes | None) -> int | None:
    """The first port of a range."""
    if value is None:
        return None
    first, _ = _PORTS.unpack(value)
    return int(first)
