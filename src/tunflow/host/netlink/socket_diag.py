"""Asks the kernel which socket has an address: one exact question, no list of all sockets.

The answer comes on the way of every new flow, and has the socket's inode, which is what `/proc/PID/fd` shows, the user
that made it, and a number of its own.

Read first: sock_diag(7). Constants: Linux include/uapi/linux/{sock_diag,inet_diag}.h.
"""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

from tunflow.endpoint import Endpoint
from tunflow.flow import TCP
from tunflow.host.netlink.messages import HEADER, NLM_F_REQUEST, message
from tunflow.host.netlink.socket import open_socket

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
IPV4_SIZE = 4
_ANY_STATE = 0xFFFFFFFF
_NO_COOKIE = b"\xff" * 8

_REQUEST = struct.Struct("=BBBxI")
"""struct inet_diag_req_v2 up to its id: family, protocol, extensions, states."""
_PORTS = struct.Struct("!HH")
_ID_SIZE = 48
"""struct inet_diag_sockid: ports, source, destination, interface, cookie."""
_ANSWER_SIZE = 4096
_AT_ID = HEADER.size + 4
"""struct inet_diag_msg: family, state, timer, retransmissions, then the id."""
_AT_REST = _AT_ID + _ID_SIZE
_REST = struct.Struct("=IIIII")
"""Then expires, receive queue, send queue, uid and inode."""
_COOKIE = struct.Struct("=Q")
_AT_COOKIE = _AT_REST - _COOKIE.size


class SocketFacts(NamedTuple):
    """What the kernel knows about a socket."""

    inode: int
    uid: int
    cookie: int
    """Its number: no other socket has or will have it."""


class SocketDiag:
    """Questions to one network namespace: the one of the thread that made the socket."""

    def __init__(self, connection: socket.socket | None = None) -> None:
        """With `connection`, a socket from `open_diag` in another namespace. Raises OSError."""
        self._socket = connection if connection is not None else open_diag()
        self._socket.setblocking(False)  # the kernel answers within `send`
        self._sequence = 0

    @classmethod
    def from_fd(cls, fd: int) -> SocketDiag:
        """Over a descriptor that came from elsewhere; it is ours from now on. Raises OSError."""
        return cls(socket.socket(fileno=fd))

    def close(self) -> None:
        """Give the descriptor back."""
        self._socket.close()

    def find(self, protocol: str, client: Endpoint, target: Endpoint) -> SocketFacts | None:
        """Return the socket at `client` whose peer is `target`, or which has none; None if there is no such socket."""
        is_tcp = protocol == TCP
        self._sequence = self._sequence + 1 & 0xFFFFFFFF
        family = socket.AF_INET if len(client.host) == IPV4_SIZE else socket.AF_INET6
        # "src and dst are swapped for historical reasons" (Linux net/ipv4/udp_diag.c, udp_dump_one).
        here, there = (client, target) if is_tcp else (target, client)
        assert isinstance(here.host, bytes)
        assert isinstance(there.host, bytes)
        question = b"".join((
            _REQUEST.pack(family, socket.IPPROTO_TCP if is_tcp else socket.IPPROTO_UDP, 0, _ANY_STATE),
            _PORTS.pack(here.port, there.port),
            here.host.ljust(16, b"\0"),
            there.host.ljust(16, b"\0"),
            bytes(4),
            _NO_COOKIE,
        ))  # fmt: skip
        try:
            self._socket.send(message(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, self._sequence, question))
            answer = self._socket.recv(_ANSWER_SIZE)
            while HEADER.unpack_from(answer)[3] != self._sequence:  # left over from a question that failed
                answer = self._socket.recv(_ANSWER_SIZE)
        except OSError:
            return None
        return _facts(answer, client.port, target.port if is_tcp else None)


def open_diag() -> socket.socket:
    """Return a socket for questions about the network namespace of the calling thread. Raises OSError."""
    return open_socket(NETLINK_SOCK_DIAG)


def _facts(answer: bytes, port: int, peer_port: int | None) -> SocketFacts | None:
    _, kind, *_ = HEADER.unpack_from(answer)
    if kind != SOCK_DIAG_BY_FAMILY or len(answer) < _AT_REST + _REST.size:
        return None  # an error: no such socket
    own, peer = _PORTS.unpack_from(answer, _AT_ID)
    if own != port or (peer_port is not None and peer != peer_port):
        return None  # a listener on the client's port
    uid, inode = _REST.unpack_from(answer, _AT_REST)[3:]
    if not inode:
        return None  # TIME-WAIT: nobody's any more
    (cookie,) = _COOKIE.unpack_from(answer, _AT_COOKIE)
    return SocketFacts(inode, uid, cookie)
