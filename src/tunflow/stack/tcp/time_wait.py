"""Connections in TIME-WAIT (RFC 9293 §3.3.2 and §3.6.1), in little memory.

A connection that is over but for its last ACK needs no more than the numbers to answer with. The client is one hop
away on the same host or LAN, where no segment lingers for minutes: the time is 2 s, not 4 minutes, and the number of
places is bounded, the oldest going first.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from tunflow.device import Packet
from tunflow.stack.tcp.connection import Connection
from tunflow.stack.tcp.header import HeaderTemplate
from tunflow.stack.tcp.timestamps import Timestamps, is_before
from tunflow.wire.tcp import ACK, Options

DURATION = 2.0
"""2 MSL, with an MSL of one second (see above; RFC 9293 §3.4.2 says "this is an engineering choice")."""

CAPACITY = 1024

SWEEP_INTERVAL = 0.25
"""Seconds that a place may stay longer, so that thousands of short connections do not each wake us once more."""


class TimeWaitEntry(NamedTuple):
    """What is left of a connection."""

    template: HeaderTemplate
    sent: int
    """SND.NXT, unwrapped."""
    received: int
    """RCV.NXT, unwrapped."""
    timestamps: Timestamps | None
    expires: float

    def answer(self, now: float) -> Packet:
        """The ACK that whatever arrives gets (RFC 9293 §3.10.7.4)."""
        options = b"" if self.timestamps is None else self.timestamps.encode(now)
        return self.template.build(self.sent, self.received, ACK, 65535, 0, options)

    def gives_way(self, seq: int, options: Options) -> bool:
        """Return True if a SYN is a new connection's, not an old duplicate (RFC 6191 section 2, RFC 9293 §3.6.1)."""
        is_beyond = 0 < (seq - self.received) % (1 << 32) < 1 << 31
        if self.timestamps is None or options.timestamps is None:
            return is_beyond
        value, recent = options.timestamps[0], self.timestamps.recent
        return is_before(recent, value) or (value == recent and is_beyond)


class TimeWait:
    """The places, oldest first; a machine with one timer."""

    def __init__(self) -> None:
        self._places: OrderedDict[bytes, TimeWaitEntry] = OrderedDict()
        self._sweep_at = 0.0

    def __len__(self) -> int:
        return len(self._places)

    def add(self, connection: Connection, now: float) -> None:
        """Keep a place for 2 MSL from now."""
        if not self._places:
            self._sweep_at = now + DURATION
        elif len(self._places) >= CAPACITY:
            self._places.popitem(last=False)
        sent, received = connection.sender.next, connection.receiver.next
        place = TimeWaitEntry(connection.output.template, sent, received, connection.output.timestamps, now + DURATION)
        self._places[connection.key] = place

    def find(self, key: bytes) -> TimeWaitEntry | None:
        """The place of a connection, if it still has one."""
        return self._places.get(key)

    def remove(self, key: bytes) -> None:
        """Give a place up for a new connection with the same addresses and ports."""
        self._places.pop(key, None)

    def restart(self, key: bytes, now: float) -> None:
        """A FIN came again: wait 2 MSL from now (RFC 9293 §3.10.7.4, eighth step)."""
        self._places[key] = self._places.pop(key)._replace(expires=now + DURATION)

    def next_timeout(self) -> float | None:
        """When to give up the oldest place, and those of a while after it in one go."""
        return self._sweep_at if self._places else None

    def handle_timeout(self, now: float) -> None:
        """Give up the places whose time has passed."""
        places = self._places
        while places:
            key = next(iter(places))
            if places[key].expires > now:
                break
            del places[key]
        self._sweep_at = now + SWEEP_INTERVAL
