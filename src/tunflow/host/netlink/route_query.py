"""Asks the kernel how a packet of ours would leave (RTM_GETROUTE), which interface holds which address, and which
hardware address a neighbour has.

No packet is sent. By hand for the reason that `netlink` gives, and because these are asked at every change of the
network, when the tunnel should be back at once. Read first: rtnetlink(7).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from tunflow.host.netlink.socket import NLM_F_REQUEST, NLMSG_ERROR, attribute

NLMSG_DONE = 3
NLM_F_DUMP = 0x300
RTM_GETADDR = 22
RTM_GETROUTE = 26
RTM_GETLINK = 18
RTM_GETNEIGH = 30

RTA_DST, RTA_SRC, RTA_OIF, RTA_GATEWAY, RTA_PREFSRC, RTA_MARK, RTA_VIA = 1, 2, 4, 5, 7, 16, 18
IFA_ADDRESS, IFA_LOCAL = 1, 2
IFLA_IFNAME = 3
NDA_DST, NDA_LLADDR = 1, 2
NUD_VALID = 0xDE
"""Reachable, stale, delay, probe, no ARP or permanent (linux/neighbour.h): neither incomplete nor failed."""
IFF_LOOPBACK = 0x8
IFF_LOWER_UP = 0x10000
RTN_UNICAST, RTN_LOCAL = 1, 2

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_ROUTE = struct.Struct("=8BI")
"""struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags."""
_ADDRESS = struct.Struct("=4BI")
"""struct ifaddrmsg: family, prefixlen, flags, scope, index."""
_LINK = struct.Struct("=BBHiII")
"""struct ifinfomsg: family, pad, type, index, flags, change."""
_NEIGHBOUR = struct.Struct("=BxxxiHBB")
"""struct ndmsg: family, interface, state, flags, type."""
_ANSWER = 1 << 16
_NO_ROUTE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EINVAL, errno.EACCES, errno.ENODEV, errno.EADDRNOTAVAIL}
"""What the kernel answers where no packet would leave: no route, or (EINVAL) not from that source."""


@dataclass(frozen=True, slots=True)
class Route:
    """How packets to an address leave: `source` and `gateway` are packed addresses."""

    interface: int
    source: bytes
    gateway: bytes | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """An interface; `has_carrier` is whether packets can leave it now."""

    index: int
    name: str
    has_carrier: bool
    is_loopback: bool


class RouteQuery:
    """A netlink socket of the current network namespace for questions; a context manager."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._sequence = 0

    def __enter__(self) -> RouteQuery:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptor back."""
        self._socket.close()

    def route(self, target: bytes, mark: int = 0, source: bytes | None = None) -> Route | None:
        """How packets with `mark` leave for the packed address `target`; None when they do not. Raises OSError."""
        family = socket.AF_INET if len(target) == 4 else socket.AF_INET6
        bits = len(target) * 8
        body = _ROUTE.pack(family, bits, bits if source else 0, 0, 0, 0, 0, 0, 0) + attribute(RTA_DST, target)
        if source is not None:
            body += attribute(RTA_SRC, source)
        if mark:
            body += attribute(RTA_MARK, struct.pack("=I", mark))
        try:
            answers = list(self._ask(RTM_GETROUTE, 0, body))
        except OSError as error:
            if error.errno in _NO_ROUTE:
                return None
            raise
        return _route(answers[0], source)

    def addresses(self) -> dict[bytes, int]:
        """Every local address, packed, with the index of its interface. Raises OSError."""
        found: dict[bytes, int] = {}
        for message in self._ask(RTM_GETADDR, NLM_F_DUMP, _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
            index = _ADDRESS.unpack_from(message)[4]
            values = _attributes(message, _ADDRESS.size)
            address = values.get(IFA_LOCAL) or values.get(IFA_ADDRESS)
            if address is not None:
                found[address] = index
        return found

    def neighbour(self, address: bytes, interface: int) -> bytes | None:
        """The hardware address of the packed address on an interface; None when it is not known. Raises OSError: ENOENT
        when the kernel has not heard of the address there (Linux 5.0 and later answer such questions)."""
        family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
        body = _NEIGHBOUR.pack(family, interface, 0, 0, 0) + attribute(NDA_DST, address)
        for message in self._ask(RTM_GETNEIGH, 0, body):
            if _NEIGHBOUR.unpack_from(message)[2] & NUD_VALID:
                return _attributes(message, _NEIGHBOUR.size).get(NDA_LLADDR)
        return None

    def links(self) -> dict[int, Link]:
        """Every interface by index. Raises OSError."""
        found: dict[int, Link] = {}
        for message in self._ask(RTM_GETLINK, NLM_F_DUMP, _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0, 0)):
            _, _, _, index, flags, _ = _LINK.unpack_from(message)
            name = _attributes(message, _LINK.size).get(IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace")
            found[index] = Link(index, name, bool(flags & IFF_LOWER_UP), bool(flags & IFF_LOOPBACK))
        return found

    def _ask(self, kind: int, flags: int, body: bytes) -> Iterator[bytes]:
        """The bodies of all messages that answer. Raises OSError."""
        self._sequence += 1
        header = _HEADER.pack(_HEADER.size + len(body), kind, NLM_F_REQUEST | flags, self._sequence, 0)
        self._socket.send(header + body)
        while True:
            data = self._socket.recv(_ANSWER)
            at = 0
            while at + _HEADER.size <= len(data):
                size, answer, _, sequence, _ = _HEADER.unpack_from(data, at)
                message = data[at + _HEADER.size : at + size]
                at += max(_HEADER.size, (size + 3) & ~3)
                if sequence != self._sequence:
                    continue
                if answer == NLMSG_DONE:
                    return
                if answer == NLMSG_ERROR:
                    (code,) = struct.unpack_from("=i", message)
                    raise OSError(-code, os.strerror(-code))
                yield message
                if not flags & NLM_F_DUMP:
                    return


def _route(message: bytes, source: bytes | None) -> Route | None:
    kind = _ROUTE.unpack_from(message)[7]
    values = _attributes(message, _ROUTE.size)
    interface = values.get(RTA_OIF)
    if kind not in {RTN_UNICAST, RTN_LOCAL} or interface is None:
        return None  # unreachable, prohibit, blackhole
    gateway = values.get(RTA_GATEWAY) or values.get(RTA_VIA, b"")[2:] or None
    return Route(struct.unpack("=I", interface)[0], values.get(RTA_PREFSRC) or source or b"", gateway)


def _attributes(message: bytes, at: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while at + _ATTRIBUTE.size <= len(message):
        size, kind = _ATTRIBUTE.unpack_from(message, at)
        if size < _ATTRIBUTE.size:
            break
        found[kind] = message[at + _ATTRIBUTE.size : at + size]
        at += (size + 3) & ~3
    return found
