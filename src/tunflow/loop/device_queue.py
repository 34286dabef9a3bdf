"""What waits in a packet device, read in batches by whoever epoll tells again of what is left.

To find that nothing is left costs an exception, which is a tenth of all that a lone packet costs: so after a pause one
packet is read alone, and the rest, if there is one, in the next round.
"""

from __future__ import annotations

from math import inf

from tunflow.device import Device
from tunflow.loop.codel import CoDel

QUIET = 0.002
"""Seconds without anything, after which what comes is looked at as one alone."""


class DeviceQueue:
    """Kept short by CoDel; `most` packets are read at a time."""

    __slots__ = ("_last", "_most", "_queue")

    def __init__(self, most: int) -> None:
        self._queue = CoDel()
        self._most = most
        self._last = -inf

    def read(self, device: Device, now: float) -> list[bytes]:
        """The packets that waited, as the device gives them. Raises EOFError when it is gone."""
        quiet = now - self._last > QUIET
        self._last = now
        if quiet:
            return device.read(1)
        return self._queue.thinned(device.read(self._most), self._most, now)
