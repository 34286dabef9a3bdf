"""Flows whose server has not answered yet, and which of its addresses are tried next.

All of them wait equally long for the first address, so a queue in order of time does for timers; and most have
connected long before anybody looks, so the queue is looked at no more often than that.
"""

from __future__ import annotations

import socket
from collections import deque
from typing import Protocol

from tunflow.loop.reactor import Reactor
from tunflow.outbound.dial import ATTEMPT_DELAY


class DiallingFlow(Protocol):
    """A flow whose socket connects."""

    def dial_is_slow(self, sock: socket.SocketType) -> None:
        """The first address has had its time on this socket, if that is still the flow's."""


class Dials:
    """The flows in the order in which they dialled."""

    __slots__ = ("_is_armed", "_reactor", "_waiting")

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._waiting: deque[tuple[float, DiallingFlow, socket.SocketType]] = deque()
        self._is_armed = False

    def add(self, flow: DiallingFlow, sock: socket.SocketType) -> None:
        """Call the flow's `dial_is_slow` when the first address has had its time."""
        when = self._reactor.now + ATTEMPT_DELAY
        self._waiting.append((when, flow, sock))
        if not self._is_armed:
            self._is_armed = True
            self._reactor.call_at(when, self._due)

    def _due(self) -> None:
        waiting, now = self._waiting, self._reactor.now
        while waiting and waiting[0][0] <= now:
            _, flow, sock = waiting.popleft()
            if sock.fileno() >= 0:
                flow.dial_is_slow(sock)
        self._is_armed = bool(waiting)
        if waiting:
            self._reactor.call_at(waiting[0][0], self._due)
