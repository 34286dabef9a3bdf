"""Connections that did not prove to know the key: read and never answered.

A prober learns nothing from a server that behaves the same towards wrong bytes, a replayed salt and too few
bytes: it keeps reading until the peer closes or a time-out that differs from one connection to the next
("Defend against active probing", shadowsocks-org AEAD notes; SIP022 asks for the same behaviour however
many bytes arrived).

Rules: nothing is ever written; what arrives is discarded; the number held is bounded, the oldest goes first.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from tunflow.contained import Contained
from tunflow.inbound.budget import DescriptorBudget
from tunflow.loop.reactor import EDGE, READ, READ_HANGUP, Reactor, Timer

HELD_AT_MOST = 256

SHORTEST_SECONDS = 45.0
SPREAD_SECONDS = 30.0

READS_PER_TURN = 4


def silent_seconds(rng: Callable[[int], bytes]) -> float:
    """How long a peer may take to prove that it knows the key: 60 s give or take 15, by `rng`."""
    return SHORTEST_SECONDS + SPREAD_SECONDS * int.from_bytes(rng(2), "big") / 0xFFFF


class SilentPeers(Contained):
    """Holds the connections; each counts for one descriptor in `budget`."""

    def __init__(self, reactor: Reactor, budget: DescriptorBudget, scratch: memoryview) -> None:
        self._reactor = reactor
        self._budget = budget
        self._scratch = scratch
        self._held: dict[int, tuple[socket.socket, Timer]] = {}

    def __len__(self) -> int:
        return len(self._held)

    about = "a client that is kept in silence"

    def cut(self) -> None:
        """It stays until its time is over."""

    def hold(self, peer: socket.socket, until: float) -> None:
        """Take over `peer`, which the reactor does not watch, and keep it until `until` at the latest."""
        if len(self._held) >= HELD_AT_MOST:
            self.drop_oldest()
        fd = peer.fileno()
        timer = self._reactor.call_at(until, lambda: self._drop(fd))
        self._held[fd] = (peer, timer)
        self._reactor.add(fd, READ | READ_HANGUP | EDGE, lambda _events: self._discard(fd))

    def drop_oldest(self) -> bool:
        """Close the connection held longest. Return False when none is held."""
        for fd in self._held:
            self._drop(fd)
            return True
        return False

    def close(self) -> None:
        """Let all go."""
        while self.drop_oldest():
            pass

    def _discard(self, fd: int) -> None:
        held = self._held.get(fd)
        if held is None:
            return
        try:
            for _ in range(READS_PER_TURN):
                if held[0].recv_into(self._scratch) == 0:
                    self._drop(fd)
                    return
        except BlockingIOError:
            return
        except OSError:
            self._drop(fd)
            return
        self._reactor.call_soon(lambda: self._discard(fd))

    def _drop(self, fd: int) -> None:
        peer, timer = self._held.pop(fd)
        timer.cancel()
        self._reactor.remove(fd)
        peer.close()
        self._budget.give(1)
