"""The descriptors that flows hold: who has one, and whether there is one for another flow."""

from __future__ import annotations

import errno
import os
from typing import Protocol

from tunflow.loop.path import Path
from tunflow.loop.reactor import Reactor

SETTLED_AFTER = 30.0
"""Seconds after a flow began until those that last are looked at."""


class OpenFlow(Protocol):
    """A TCP flow with a socket of its own."""

    @property
    def done_up(self) -> bool:
        """True if the client closed its side and the far side was told."""

    @property
    def holds_bytes(self) -> bool:
        """True if bytes from the client wait here."""

    @property
    def path(self) -> Path | None:
        """The addresses that its packets go between; None when it is not on its way."""

    def path_lost(self) -> bool:
        """Dial again, or reset the client, for no answer comes on this path any more. Return True if it was reset."""

    def cut(self) -> None:
        """End the flow, both ways, by a reset."""

    def keep_alive(self) -> None:
        """Have the far side probed when it is silent for long."""

    def probe_remote(self) -> None:
        """Have the far side probed now."""


class SharedFlow(Protocol):
    """A TCP flow that is a stream of a session, and holds no descriptor."""

    @property
    def done_up(self) -> bool:
        """True if the client closed its side, and the far side has all that it sent."""

    def cut(self) -> None:
        """End the flow, both ways, by a reset."""


class Slots:
    """How many flows may hold a descriptor at a time is `descriptors`."""

    def __init__(self, reactor: Reactor, descriptors: int) -> None:
        self._reactor = reactor
        self._descriptors = descriptors
        self._settling = False
        self.relays: set[OpenFlow] = set()
        """TCP flows whose socket is open."""
        self.shared: set[SharedFlow] = set()
        """TCP flows in sessions."""
        self.associations = 0
        """Descriptors of UDP."""
        self._racing = 0
        """Those of flows that try several addresses, beside the one that each flow has."""

    def __len__(self) -> int:
        return len(self.relays) + self.associations + self._racing

    def claim(self) -> None:
        """Raises OSError when flows hold as many descriptors as they may."""
        if len(self.relays) + self.associations + self._racing >= self._descriptors:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    def take(self) -> bool:
        """As `Spare.take`."""
        if len(self) >= self._descriptors:
            return False
        self._racing += 1
        return True

    def give_back(self) -> None:
        """As `Spare.give_back`."""
        self._racing -= 1

    def add(self, flow: OpenFlow) -> None:
        """The flow's socket is open; it discards itself from `relays` when it is not any more."""
        self.relays.add(flow)
        if not self._settling:
            self._settling = True
            self._reactor.call_later(SETTLED_AFTER, self._keep_settled_alive)

    def _keep_settled_alive(self) -> None:
        """Flows have lasted: most are over long before it would pay to do this for each."""
        self._settling = False
        for flow in list(self.relays):
            self._reactor.contained(flow.keep_alive)
