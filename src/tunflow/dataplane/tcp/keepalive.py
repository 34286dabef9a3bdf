"""TCP keep-alive on the far side's sockets: a flow must not be forgotten by a NAT, nor held for ever when its far side
is dead (tcp(7))."""

from __future__ import annotations

import socket

from tunflow.loop.reactor import Reactor

IDLE = 60
"""Seconds of silence before the far side is probed: the shortest time-outs of NATs for TCP are a few minutes."""

PROBED_FOR = 10.0
"""Seconds for which a far side is probed that may have forgotten the flow."""

_NOW = ((socket.TCP_KEEPINTVL, 2), (socket.TCP_KEEPCNT, 3), (socket.TCP_KEEPIDLE, 1))
_AS_USUAL = ((socket.TCP_KEEPIDLE, IDLE), (socket.TCP_KEEPINTVL, 75), (socket.TCP_KEEPCNT, 9))
"""tcp(7): the system's own."""


def begin(sock: socket.SocketType) -> None:
    """Have the kernel probe the far side whenever it is silent for IDLE seconds."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, IDLE)


def probe(sock: socket.SocketType, reactor: Reactor) -> None:
    """Have the kernel probe it now, for PROBED_FOR seconds, and then as `begin` says."""
    for option, value in _NOW:
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    reactor.call_later(PROBED_FOR, lambda: _as_usual(sock))


def _as_usual(sock: socket.SocketType) -> None:
    if sock.fileno() >= 0:
        for option, value in _AS_USUAL:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
