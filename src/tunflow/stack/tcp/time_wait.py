"""Connections in TIME-WAIT (RFC 9293 §3.3.2 and §3.6.1), in little memory.

A connection that is over but for its last ACK needs no more than the numbers to answer with. The client is one hop
away on the same host or LAN, where no segment lingers for minutes: the time is 2 s, not 4 minutes, and the number of
places is bounded, the oldest going first.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from tunflow.stack.tcp.header import HeaderTemplate

DURATION = 2.0
"""2 MSL, with an MSL of one second (see above; RFC 9293 §3.4.2 says "this is an engineering choice")."""

CAPACITY = 4096


class Place(NamedTuple):
    """What is left of a connection."""

    template: HeaderTemplate
    sent: int
    """SND.NXT, unwrapped."""
    received: int
    """RCV.NXT, unwrapped."""
    expires: float


class TimeWait:
    """The places, oldest first; a machine with one timer."""

    def __init__(self) -> None:
        self._places: OrderedDict[bytes, Place] = OrderedDict()

    def __len__(self) -> int:
        return len(self._places)

    def add(self, key: bytes, template: HeaderTemplate, sent: int, received: int, now: float) -> None:
        """Keep a place for 2 MSL from now."""
        if len(self._places) >= CAPACITY:
            self._places.popitem(last=False)
        self._places[key] = Place(template, sent, received, now + DURATION)

    def find(self, key: bytes) -> Place | None:
        """The place of a connection, if it still has one."""
        return self._places.get(key)

    def remove(self, key: bytes) -> None:
        """Give a place up for a new connection with the same addresses and ports."""
        self._places.pop(key, None)

    def restart(self, key: bytes, now: float) -> None:
        """A FIN came again: wait 2 MSL from now (RFC 9293 §3.10.7.4, eighth step)."""
        template, sent, received, _ = self._places.pop(key)
        self._places[key] = Place(template, sent, received, now + DURATION)

    def next_timeout(self) -> float | None:
        """When the oldest place goes."""
        for place in self._places.values():
            return place.expires
        return None

    def handle_timeout(self, now: float) -> None:
        """Give up the places whose time has passed."""
        while (due := self.next_timeout()) is not None and due <= now:
            self._places.popitem(last=False)
