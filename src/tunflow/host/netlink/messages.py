"""The messages of netlink as bytes: headers, attributes, the structs of rtnetlink, and their numbers. No socket.

Read first: netlink(7), rtnetlink(7). From Linux include/uapi/linux/{netlink,rtnetlink,if_link,if_addr,neighbour,
fib_rules}.h; numbers are in the machine's own byte order.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

NLMSG_ERROR = 2
NLMSG_DONE = 3
NLM_F_REQUEST = 0x001
NLM_F_ACK = 0x004
NLM_F_DUMP_INTR = 0x010
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_DUMP = 0x300
NLM_F_CREATE = 0x400

RTM_NEWLINK = 16
RTM_GETLINK = 18
RTM_NEWADDR = 20
RTM_DELADDR = 21
RTM_GETADDR = 22
RTM_NEWROUTE = 24
RTM_DELROUTE = 25
RTM_GETROUTE = 26
RTM_GETNEIGH = 30
RTM_NEWRULE = 32
RTM_DELRULE = 33
RTM_GETRULE = 34

IFLA_IFNAME = 3
IFLA_MTU = 4
IFLA_MASTER = 10
IFLA_TXQLEN = 13
IFLA_LINKINFO = 18
IFLA_AF_SPEC = 26
IFLA_INFO_KIND = 1
IFLA_INET6_ADDR_GEN_MODE = 8
IN6_ADDR_GEN_MODE_NONE = 1
IFF_UP = 0x1
IFF_LOOPBACK = 0x8
IFF_LOWER_UP = 0x10000

IFA_ADDRESS = 1
IFA_LOCAL = 2
IFA_FLAGS = 8
IFA_F_NODAD = 0x02
IFA_F_NOPREFIXROUTE = 0x200

RTA_DST = 1
RTA_SRC = 2
RTA_OIF = 4
RTA_GATEWAY = 5
RTA_PREFSRC = 7
RTA_METRICS = 8
RTA_MULTIPATH = 9
RTA_TABLE = 15
RTA_MARK = 16
RTA_VIA = 18
RTAX_CC_ALGO = 16
RT_TABLE_UNSPEC = 0
RT_TABLE_MAIN = 254
RTPROT_KERNEL = 2
RTPROT_BOOT = 3
RTPROT_RA = 9
RT_SCOPE_UNIVERSE = 0
RT_SCOPE_LINK = 253
RT_SCOPE_NOWHERE = 255
RTN_UNICAST = 1
RTN_LOCAL = 2
RTN_BROADCAST = 3
RTN_ANYCAST = 4
RTN_MULTICAST = 5
RTN_UNREACHABLE = 7
RTN_THROW = 9
RTM_F_CLONED = 0x200

NDA_DST = 1
NDA_LLADDR = 2
NUD_VALID = 0xDE
"""Reachable, stale, delay, probe, no ARP or permanent: neither incomplete nor failed."""

FR_ACT_TO_TBL = 1
FR_ACT_GOTO = 2
FR_ACT_NOP = 3
FR_ACT_UNREACHABLE = 7
FRA_DST = 1
FRA_IIFNAME = 3
FRA_GOTO = 4
FRA_PRIORITY = 6
FRA_FWMARK = 10
FRA_SUPPRESS_PREFIXLEN = 14
FRA_TABLE = 15
FRA_FWMASK = 16
FRA_PROTOCOL = 21
FRA_IP_PROTO = 22
FRA_SPORT_RANGE = 23
FRA_DPORT_RANGE = 24

RTMGRP_LINK = 0x1
RTMGRP_IPV4_IFADDR = 0x10
RTMGRP_IPV4_ROUTE = 0x40
RTMGRP_IPV4_RULE = 0x80
RTMGRP_IPV6_IFADDR = 0x100
RTMGRP_IPV6_ROUTE = 0x400
RTMGRP_IPV6_RULE = 1 << 18

FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
"""Address families by IP version."""

HEADER = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence, port id."""
LINK = struct.Struct("=BxHiII")
"""struct ifinfomsg: family, ARP type, index, flags, which flags to change."""
ADDRESS = struct.Struct("=BBBBi")
"""struct ifaddrmsg: family, prefix length, flags, scope, index."""
ROUTE = struct.Struct("=BBBBBBBBI")
"""struct rtmsg: family, length of destination and source, TOS, table, protocol, scope, type, flags."""
NEXT_HOP = struct.Struct("=HBBi")
"""struct rtnexthop: length, flags, hops, interface."""
NEIGHBOUR = struct.Struct("=BxxxiHBB")
"""struct ndmsg: family, interface, state, flags, type."""
RULE = ROUTE
"""struct fib_rule_hdr: family, length of destination and source, TOS, table, two reserved, action, flags."""

_ATTRIBUTE = struct.Struct("=HH")
_TYPE_MASK = 0x3FFF
"""Without NLA_F_NESTED and NLA_F_NET_BYTEORDER."""


def message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    """Return a message with its header."""
    return HEADER.pack(HEADER.size + len(body), kind, flags, sequence, 0) + body


def messages(answer: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Return type, flags, sequence number and body of every message in what one `recv` gave."""
    offset = 0
    while offset + HEADER.size <= len(answer):
        length, kind, flags, sequence, _ = HEADER.unpack_from(answer, offset)
        yield kind, flags, sequence, answer[offset + HEADER.size : offset + length]
        offset += max(length, HEADER.size) + 3 & ~3


def attribute(kind: int, value: bytes) -> bytes:
    """Return a netlink attribute: length and type, the value, and zeros up to a multiple of four."""
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def attributes(body: bytes, start: int) -> dict[int, bytes]:
    """Return the netlink attributes that stand in `body` from `start` on, by type; of two of a type the last."""
    found: dict[int, bytes] = {}
    while start + 4 <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, start)
        if length < 4:
            break
        found[kind & _TYPE_MASK] = body[start + 4 : start + length]
        start += length + 3 & ~3
    return found


def number_attribute(kind: int, value: int) -> bytes:
    """Return an attribute that is a 32-bit number."""
    return attribute(kind, struct.pack("=I", value))


def number(value: bytes | None) -> int | None:
    """Return the 32-bit number that an attribute is; None without the attribute."""
    if value is None:
        return None
    (found,) = struct.unpack_from("=I", value)
    return int(found)


def text(value: bytes) -> str:
    """Return the text that an attribute is."""
    return value.rstrip(b"\0").decode(errors="replace")
