"""A host for backends of a tunnel: its device is in memory, and its way out is whatever a test says."""

from __future__ import annotations

from tunflow.host.memory import memory_pair
from tunflow.host.network.settings import HostSettings
from tunflow.host.network.uplinks import Uplink, Uplinks


class MemoryHost:
    """Has a device in memory, and does nothing else."""

    settings: HostSettings | None = None

    def __init__(self) -> None:
        self.device, self.card = memory_pair()

    def apply(self, settings: HostSettings) -> None:
        self.settings = settings

    def undo(self, *, keep_kill_switch: bool = False) -> None:
        self.device.close()
        self.card.close()


class NamedUplink:
    """Finds a way out by that interface."""

    interface = "wlan0"

    def look(self, servers: object) -> Uplinks:
        return Uplinks((Uplink(self.interface, 2, bytes([192, 0, 2, 7]), None),))

    def surviving(self, pairs: set[object]) -> set[object]:
        return pairs
