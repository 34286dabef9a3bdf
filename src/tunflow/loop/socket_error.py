"""What the network says about datagrams that a socket has sent: Linux's error queue.

With IP_RECVERR an ICMP error about any datagram of the socket waits there together with whom the datagram was for,
who reported it and the start of its payload. Without, an unconnected socket hears of nothing.

Read first: ip(7) (IP_RECVERR, IP_MTU_DISCOVER), recvmsg(2) (MSG_ERRQUEUE), Linux include/uapi/linux/errqueue.h.
"""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

from tunflow.endpoint import Endpoint, SocketAddress
from tunflow.wire import icmp

IP_RECVERR = 11
IPV6_RECVERR = 25
IP_MTU_DISCOVER = 10
IPV6_MTU_DISCOVER = 23
PMTUDISC_WANT = 1
PMTUDISC_DO = 2
"""linux/in.h, linux/in6.h."""

_EXTENDED_ERROR = struct.Struct("=IBBBxII")
"""`struct sock_extended_err`: errno, origin, ICMP type and code, info (the MTU), data; a sockaddr follows."""
_FAMILY = struct.Struct("=H")
_FROM_HERE, _FROM_ICMP, _FROM_ICMPV6 = 1, 2, 3
"""SO_EE_ORIGIN_…"""

_CONTROL = 256
_PAYLOAD = 2048
AT_ONCE = 64
"""Errors read at one go."""


class SocketError(NamedTuple):
    """One error about one datagram."""

    target: Endpoint
    """Whom the datagram was for. A ping socket has no ports: 0."""
    message: icmp.Error
    """What is said, with nothing quoted."""
    reporter: bytes | None
    """The packed address of who said it; None when it was this host's own kernel."""
    payload: bytes
    """The start of what the socket had sent; may be empty."""


def want_errors(sock: socket.socket) -> None:
    """Have errors queue up. Raises OSError."""
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)


def let_fragment(sock: socket.socket, allowed: bool) -> None:
    """Have datagrams over the path's MTU leave in fragments (`allowed`), or come back as EMSGSIZE. Raises OSError."""
    mode = PMTUDISC_WANT if allowed else PMTUDISC_DO
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, mode)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, mode)


def endpoint_of(sockaddr: SocketAddress) -> Endpoint:
    """The endpoint in what `recvfrom` calls an address."""
    host = sockaddr[0].partition("%")[0]
    return Endpoint(socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host), sockaddr[1])


def read_errors(sock: socket.socket) -> list[SocketError]:
    """Empty the error queue. What does not concern a datagram's delivery is skipped."""
    errors: list[SocketError] = []
    for _ in range(AT_ONCE):
        try:
            payload, control, _, sockaddr = sock.recvmsg(_PAYLOAD, _CONTROL, socket.MSG_ERRQUEUE)
        except OSError:
            break
        for level, kind, data in control:
            if (level, kind) in {(socket.IPPROTO_IP, IP_RECVERR), (socket.IPPROTO_IPV6, IPV6_RECVERR)}:
                found = _parse(data)
                if found is not None and sockaddr:
                    errors.append(SocketError(endpoint_of(sockaddr), *found, payload))
    return errors


def _parse(data: bytes) -> tuple[icmp.Error, bytes | None] | None:
    """Message and reporter of a control message."""
    _, origin, kind, code, info, _ = _EXTENDED_ERROR.unpack_from(data)
    if origin == _FROM_HERE:
        return (icmp.PacketTooBig(info, b""), None) if info else None
    if origin not in {_FROM_ICMP, _FROM_ICMPV6}:
        return None
    message = icmp.error_v4(kind, code, info) if origin == _FROM_ICMP else icmp.error_v6(kind, code, info)
    return None if message is None else (message, _address(data[_EXTENDED_ERROR.size :]))


def _address(sockaddr: bytes) -> bytes | None:
    """The packed address in a `struct sockaddr_in` or `sockaddr_in6`."""
    (family,) = _FAMILY.unpack_from(sockaddr)
    if family == socket.AF_INET:
        return sockaddr[4:8]
    return sockaddr[8:24] if family == socket.AF_INET6 else None
