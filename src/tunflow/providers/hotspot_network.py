"""A Wi-Fi network as a hotspot helper sees it: NEHotspotNetwork."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

BARS = "▂▄▆█"


class HotspotHelperConfidence(IntEnum):
    """How sure a helper is that a network is its own: NEHotspotHelperConfidence, by its numbers."""

    NONE = 0
    LOW = 1
    HIGH = 2


@dataclass(slots=True)
class HotspotNetwork:
    """One network; what the helper says of it is set by its methods."""

    ssid: str
    """The name; "" for one that hides it. Bytes that are no UTF-8 stand as U+FFFD."""
    bssid: str
    """The access point's address, such as 02:00:00:00:00:01; "" where nobody tells."""
    signal_strength: float
    """From 0.0 to 1.0."""
    is_secure: bool
    """True if it takes a passphrase or more."""
    did_auto_join: bool = False
    """True if the system joined it by itself."""
    did_just_join: bool = False
    """True if that was just now."""
    is_chosen_helper: bool = False
    """True if the helper that is asked was chosen for it."""
    is_current: bool = False
    """True if this machine is on it."""
    confidence: HotspotHelperConfidence = field(default=HotspotHelperConfidence.NONE, compare=False)
    """What the helper says."""
    password: str | None = field(default=None, repr=False, compare=False)
    """What the helper says; for answers to FILTER_SCAN_LIST."""

    def set_confidence(self, confidence: HotspotHelperConfidence) -> None:
        """Say whether it is the helper's."""
        self.confidence = HotspotHelperConfidence(confidence)

    def set_password(self, password: str) -> None:
        """Say by what it is joined."""
        self.password = password

    @property
    def bars(self) -> str:
        """The signal as four bars, those that are there."""
        return BARS[: max(1, min(4, round(self.signal_strength * 4)))]

    def facts(self) -> dict[str, object]:
        """What `tunflow wifi --json` prints of it."""
        return {
            "ssid": self.ssid, "bssid": self.bssid, "signal_strength": round(self.signal_strength, 2),
            "is_secure": self.is_secure, "is_current": self.is_current,
        }  # fmt: skip


def strength_of_dbm(dbm: float) -> float:
    """A signal in dBm as 0.0 to 1.0: -100 is nothing, -50 and more is all (as NetworkManager's percent are)."""
    return max(0.0, min(1.0, (dbm + 100) / 50))
