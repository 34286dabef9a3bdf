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
        """Whether the client closed its side and the far side was told."""

    @property
    def holds_bytes(self) -> bool:
        """Whether bytes from the client wait here."""

    @property
    def path(self) -> Path | None:
        """The addresses that its packets go between; None when it is not on its way."""

    def path_lost(self) -> bool:
        """Dial again, or reset the client, for no answer comes on this path any more. Return True if it was reset."""

    def cut(self) -> None:
        """End the flow, both ways, by a reset."""

    def keep_alive(self) -> None:
        """Have the far side probed when it is silent for long."""

    def ask_far_side(self) -> None:
        """Have the far side probed now."""


class Slots:
    """How many flows may hold a descriptor at a time is `descriptors`."""

    def __init__(self, reactor: Reactor, descriptors: int) -> None:
        self._reactor = reactor
        self._descriptors = descriptors
        self._settling = False
        self.relays: set[OpenFlow] = set()
        """TCP flows whose socket is open."""
        self.associations = 0
        """Descriptors of UDP."""

    def __len__(self) -> int:
        return len(self.relays) + self.associations

    def claim(self) -> None:
        """Raises OSError when flows hold as many descriptors as they may."""
        if len(self.relays) + self.associations >= self._descriptors:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    def add(self, flow: OpenFlow) -> None:
        """The flow's socket is open; it discards itself from `relays` when it is not any more."""
        self.relays.add(flow)
        if not self._settling:
            self._settling = True
            self._reactor.call_later(SETTLED_AFTER, self._keep_settled_alive)

    def _keep_settled_alive(self) -> None:
        """Flows have lasted: most are over long before it would pay to do this for each."""
        self._settling = False
        for flow in self.relays:
            flow.keep_alive()
