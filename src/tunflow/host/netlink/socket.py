"""A socket for rtnetlink requests: one at a time, many in one system call, and dumps.

Written by hand because the whole need is a handful of messages (docs/adr/0005 and 0020). pyroute2 speaks all of
netlink, but importing it costs more time and memory than everything else that runs before a tunnel is up. The older
ioctls would need two families of C structs whose layout depends on the word size; netlink has one format for both
families, and nothing else adds ten thousand routes in a blink.

Read first: rtnetlink(7), netlink(7). Constants: Linux include/uapi/linux/{netlink,rtnetlink,if_link,if_addr}.h.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

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
RTM_NEWADDR = 20
RTM_NEWROUTE = 24

IFLA_MTU = 4
IFLA_TXQLEN = 13
IFLA_AF_SPEC = 26
IFLA_INET6_ADDR_GEN_MODE = 8
IN6_ADDR_GEN_MODE_NONE = 1
IFF_UP = 1

IFA_ADDRESS = 1
IFA_LOCAL = 2
IFA_F_NODAD = 0x02

RTA_OIF = 4
RT_TABLE_MAIN = 254
RTPROT_BOOT = 3
RT_SCOPE_UNIVERSE = 0
RT_SCOPE_LINK = 253
RTN_UNICAST = 1

_HEADER = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence, port id."""
_ATTRIBUTE = struct.Struct("=HH")
_TYPE_MASK = 0x3FFF
"""Without NLA_F_NESTED and NLA_F_NET_BYTEORDER."""
_ANSWER_SIZE = 65536
_BATCH = 128
"""Requests in one system call: their error messages have to fit the socket's receive buffer."""
_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_NETLINK_GET_STRICT_CHK = 12
_TRIES = 20


class Request(NamedTuple):
    """One message to the kernel: its type, its flags beside REQUEST and ACK, its body, and in words what it tries."""

    kind: int
    flags: int
    body: bytes
    tried: str


class RouteSocket:
    """A netlink socket for the network namespace of the thread that makes it; a context manager."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._sequence = 0
        for option in (_NETLINK_CAP_ACK, _NETLINK_GET_STRICT_CHK):
            with contextlib.suppress(OSError):  # Linux before 4.3 and 4.20: longer errors, dumps of more than asked for
                self._socket.setsockopt(_SOL_NETLINK, option, 1)

    def __enter__(self) -> RouteSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def set_mtu(self, index: int, mtu: int) -> None:
        """Set a link's MTU in bytes. Raises OSError."""
        self._link(index, 0, attribute(IFLA_MTU, struct.pack("=I", mtu)), f"set the MTU of link {index}")

    def set_queue(self, index: int, packets: int) -> None:
        """Set how many packets may wait in a link's send queue. Raises OSError."""
        self._link(index, 0, attribute(IFLA_TXQLEN, struct.pack("=I", packets)), f"set the queue of link {index}")

    def forgo_link_local(self, index: int) -> None:
        """Have IPv6 make no link-local address of its own on a link, so it solicits no router. Raises OSError."""
        mode = attribute(IFLA_INET6_ADDR_GEN_MODE, struct.pack("=B", IN6_ADDR_GEN_MODE_NONE))
        spec = attribute(IFLA_AF_SPEC, attribute(socket.AF_INET6, mode))
        self._link(index, 0, spec, f"turn off link-local addresses of link {index}")

    def set_up(self, index: int) -> None:
        """Bring a link up. Raises OSError."""
        self._link(index, IFF_UP, b"", f"bring up link {index}")

    def add_address(self, index: int, address: str, prefix: int) -> None:
        """Give a link an address with its prefix length, usable at once. Raises OSError."""
        family, packed = _packed(address)
        flags = IFA_F_NODAD if family == socket.AF_INET6 else 0
        body = struct.pack("=BBBBI", family, prefix, flags, RT_SCOPE_UNIVERSE, index)
        body += attribute(IFA_LOCAL, packed) + attribute(IFA_ADDRESS, packed)
        self._request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, body, f"add address {address}/{prefix}")

    def add_default_route(self, index: int, family: socket.AddressFamily) -> None:
        """Send all that has no other route out of a link, without a gateway. Raises OSError."""
        scope = RT_SCOPE_LINK if family == socket.AF_INET else RT_SCOPE_UNIVERSE
        # struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags
        body = struct.pack("=BBBBBBBBI", family, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, scope, RTN_UNICAST, 0)
        body += attribute(RTA_OIF, struct.pack("=I", index))
        self._request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, body, f"add the {family.name} default route")

    def _link(self, index: int, flags: int, attributes: bytes, tried: str) -> None:
        # struct ifinfomsg: family, pad, type, index, flags, which flags to change
        body = struct.pack("=BBHiII", socket.AF_UNSPEC, 0, 0, index, flags, flags)
        self._request(RTM_NEWLINK, 0, body + attributes, tried)

    def send(self, requests: Sequence[Request], ignored: frozenset[int] = frozenset()) -> None:
        """Have the kernel carry out `requests` in order. Raises OSError for the first that failed.

        Those behind a failed one in the same system call are carried out all the same. Error numbers in `ignored` are
        none: what was asked for is so already.
        """
        for start in range(0, len(requests), _BATCH):
            self._send(requests[start : start + _BATCH], ignored)

    def _send(self, requests: Sequence[Request], ignored: frozenset[int]) -> None:
        first = self._sequence + 1
        last = self._sequence = self._sequence + len(requests)
        parts: list[bytes] = []
        for number, (kind, flags, body, _) in enumerate(requests, first):
            asked = NLM_F_REQUEST if number != last else NLM_F_REQUEST | NLM_F_ACK  # errors are told without asking
            parts += (_HEADER.pack(_HEADER.size + len(body), kind, flags | asked, number, 0), body)
        self._socket.send(b"".join(parts))
        failed: OSError | None = None
        number = 0
        while number != last:
            for kind, flags, number, body in _messages(self._socket.recv(_ANSWER_SIZE)):
                assert kind == NLMSG_ERROR, (kind, flags)  # requests that are no dumps are answered with nothing else
                (code,) = struct.unpack_from("=i", body)
                if code and failed is None and -code not in ignored:
                    failed = OSError(-code, os.strerror(-code), requests[number - first].tried)
        if failed is not None:
            raise failed

    def dump(self, kind: int, body: bytes) -> list[bytes]:
        """The bodies of all objects that a GET request of `kind` lists; consistent. Raises OSError."""
        for _ in range(_TRIES):
            found = self._dump_once(kind, body)
            if found is not None:
                return found
        raise OSError(errno.EAGAIN, "the list changes faster than it can be read", f"netlink dump {kind}")

    def _dump_once(self, kind: int, body: bytes) -> list[bytes] | None:
        self._sequence += 1
        flags = NLM_F_REQUEST | NLM_F_DUMP
        self._socket.send(_HEADER.pack(_HEADER.size + len(body), kind, flags, self._sequence, 0) + body)
        found: list[bytes] = []
        interrupted = False
        while True:
            for answer_kind, answer_flags, sequence, content in _messages(self._socket.recv(_ANSWER_SIZE)):
                if sequence != self._sequence:
                    continue
                interrupted |= bool(answer_flags & NLM_F_DUMP_INTR)
                if answer_kind in (NLMSG_DONE, NLMSG_ERROR):
                    (code,) = struct.unpack_from("=i", content)
                    if code:
                        raise OSError(-code, os.strerror(-code), f"netlink dump {kind}")
                    return None if interrupted else found
                found.append(content)

    def _request(self, kind: int, flags: int, body: bytes, tried: str) -> None:
        self.send([Request(kind, flags, body, tried)])


def _messages(answer: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Type, flags, sequence number and body of every message in what one `recv` gave."""
    offset = 0
    while offset + _HEADER.size <= len(answer):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(answer, offset)
        yield kind, flags, sequence, answer[offset + _HEADER.size : offset + length]
        offset += length + 3 & ~3


def attributes(body: bytes, start: int) -> dict[int, bytes]:
    """The netlink attributes that stand in `body` from `start` on, by type; of two of a type the last."""
    found: dict[int, bytes] = {}
    while start + 4 <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, start)
        if length < 4:
            break
        found[kind & _TYPE_MASK] = body[start + 4 : start + length]
        start += length + 3 & ~3
    return found


def attribute(kind: int, value: bytes) -> bytes:
    """A netlink attribute: length and type, the value, and zeros up to a multiple of four."""
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def _packed(address: str) -> tuple[socket.AddressFamily, bytes]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return family, socket.inet_pton(family, address)
