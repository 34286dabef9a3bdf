"""Ends connections of this host by the address that they have here.

A connection keeps its source address when that address is gone. Over IPv6 the kernel goes on to send for it, by
whatever route there is then: what a program had given to the tunnel would leave in the clear.

Read first: sock_diag(7). `SOCK_DESTROY` is in Linux since 4.5 (`CONFIG_INET_DIAG_DESTROY`): for TCP it sends a reset
and the program reads ECONNABORTED, for UDP (4.9) the next call fails with it. Constants: Linux
include/uapi/linux/{sock_diag,inet_diag}.h.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address

from tunflow.host.netlink.socket import NetlinkRequest, NetlinkSocket
from tunflow.host.netlink.socket_diag import NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY

_SOCK_DESTROY = 21
_REQUEST = struct.Struct("=BBBxI48s")
"""struct inet_diag_req_v2: family, protocol, extensions, states, id."""
_ANSWER = struct.Struct("=BBBB48s")
"""struct inet_diag_msg up to its id: family, state, timer, retransmissions."""
_SOURCE = slice(4, 20)
"""Of the id: behind the two ports."""
_LISTEN = 10
_STATES = 0xFFFFFFFF & ~(1 << _LISTEN)
"""All but sockets that listen: they send nothing by themselves."""
_MAPPED = bytes(10) + b"\xff\xff"
"""RFC 4291 §2.5.5.2: an IPv4 address in a socket of IPv6."""
_GONE = frozenset((errno.ENOENT, errno.ESRCH))
_UNABLE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOENT)
"""A kernel without `SOCK_DESTROY`, or without sock_diag for this protocol."""


def abort_sockets(addresses: Iterable[IPv4Address | IPv6Address]) -> None:
    """End each connection of TCP and each UDP socket whose own address is one of `addresses`.

    Does nothing where the kernel cannot. Raises OSError.
    """
    own = {source for address in addresses for source in _sources(address)}
    if not own:
        return
    with NetlinkSocket(NETLINK_SOCK_DIAG) as diag:
        for family in (socket.AF_INET, socket.AF_INET6):
            for protocol in (socket.IPPROTO_TCP, socket.IPPROTO_UDP):
                try:
                    _abort(diag, family, protocol, own)
                except OSError as error:
                    if error.errno not in _UNABLE:
                        raise


def _abort(diag: NetlinkSocket, family: int, protocol: int, own: set[bytes]) -> None:
    requests = []
    for found in diag.dump(SOCK_DIAG_BY_FAMILY, _REQUEST.pack(family, protocol, 0, _STATES, bytes(48))):
        *_, identity = _ANSWER.unpack_from(found)
        if identity[_SOURCE] in own:
            body = _REQUEST.pack(family, protocol, 0, _STATES, identity)
            requests.append(NetlinkRequest(_SOCK_DESTROY, 0, body, "end the tunnel's connections"))
    diag.send(requests, ignored=_GONE)


def _sources(address: IPv4Address | IPv6Address) -> Iterator[bytes]:
    """The address as the kernel tells it of sockets."""
    yield address.packed.ljust(16, b"\0")
    if address.version == 4:
        yield _MAPPED + address.packed
