"""A few rtnetlink requests: a link's state, an address, a route.

Written by hand because the whole need is four messages. pyroute2 speaks all of netlink, but importing it costs
0.22 s of CPU and 20 MB in every `tunflow run`. The older ioctls would need two families of C structs whose layout
depends on the word size; netlink has one format for IPv4 and IPv6.

Read first: rtnetlink(7), netlink(7). Constants: Linux include/uapi/linux/{netlink,rtnetlink,if_link,if_addr}.h.
"""

from __future__ import annotations

import os
import socket
import struct

NLMSG_ERROR = 2
NLM_F_REQUEST = 0x001
NLM_F_ACK = 0x004
NLM_F_EXCL = 0x200
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
_ANSWER_SIZE = 65536


class RouteSocket:
    """A netlink socket for the network namespace of the thread that makes it; a context manager."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._sequence = 0

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

    def _request(self, kind: int, flags: int, body: bytes, tried: str) -> None:
        self._sequence += 1
        flags |= NLM_F_REQUEST | NLM_F_ACK
        header = _HEADER.pack(_HEADER.size + len(body), kind, flags, self._sequence, 0)
        self._socket.send(header + body)
        answer = self._socket.recv(_ANSWER_SIZE)
        _, answer_kind, _, sequence, _ = _HEADER.unpack_from(answer)
        assert answer_kind == NLMSG_ERROR, answer_kind  # with NLM_F_ACK the kernel answers with nothing else
        assert sequence == self._sequence
        (error,) = struct.unpack_from("=i", answer, _HEADER.size)
        if error:
            raise OSError(-error, os.strerror(-error), tried)


def attribute(kind: int, value: bytes) -> bytes:
    """A netlink attribute: length and type, the value, and zeros up to a multiple of four."""
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _packed(address: str) -> tuple[socket.AddressFamily, bytes]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return family, socket.inet_pton(family, address)
