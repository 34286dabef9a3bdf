"""Wi-Fi of this host, whoever manages it: one interface for NetworkManager, wpa_supplicant and the kernel alone.

All of it blocks. What goes wrong is one LocalError line: no radio, a radio that is blocked, nobody who could join.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from tunflow.errors import LocalError
from tunflow.providers.hotspot_network import HotspotNetwork

SYSFS = Path("/sys/class")


class WifiBackend(ABC):
    """One interface's Wi-Fi."""

    name: str
    """Who manages it, for people."""

    def __init__(self, interface: str) -> None:
        self.interface = interface

    @abstractmethod
    def networks(self) -> list[HotspotNetwork]:
        """What is in the air, by a scan where that is allowed. Raises LocalError."""

    @abstractmethod
    def current(self) -> HotspotNetwork | None:
        """The network that this machine is on. Raises LocalError."""

    @abstractmethod
    def join(self, ssid: str, passphrase: str | None) -> None:
        """Join a network, and return once that is done; None for one without a passphrase.

        Raises LocalError: a wrong passphrase, no such network.
        """

    @abstractmethod
    def forget(self, ssid: str) -> None:
        """Leave it, and do not join it again by itself. Raises LocalError where it is not known."""

    @abstractmethod
    def saved(self) -> list[str]:
        """The names of the networks that are joined by themselves. Raises LocalError."""


def interfaces(sysfs: Path = SYSFS) -> list[str]:
    """The interfaces with a radio, by name. Raises LocalError where there is none, or all radios are blocked."""
    links = sorted((sysfs / "net").glob("*")) if (sysfs / "net").is_dir() else []
    found = [link.name for link in links if (link / "phy80211").exists() or (link / "wireless").exists()]
    if not found:
        raise LocalError("this machine has no Wi-Fi: no interface has a radio")
    blocked = _blocked(sysfs)
    if blocked is not None:
        raise LocalError(blocked)
    return found


def chosen(interface: str | None, sysfs: Path = SYSFS) -> str:
    """That interface, or the first with a radio. Raises LocalError."""
    found = interfaces(sysfs)
    if interface is not None and interface not in found:
        raise LocalError(f"{interface} has no radio: there is {', '.join(found)}")
    return interface or found[0]


def _blocked(sysfs: Path) -> str | None:
    """Why no radio may send (rfkill(8)), if it is so."""
    switches = [each for each in sorted((sysfs / "rfkill").glob("*")) if _text(each / "type") == "wlan"]
    if not switches or any(_text(each / "soft") == "0" and _text(each / "hard") == "0" for each in switches):
        return None
    if any(_text(each / "hard") == "1" for each in switches):
        return "the radio is switched off by a switch of this machine"
    return "the radio is blocked: rfkill unblock wifi"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def strongest(networks: Sequence[HotspotNetwork]) -> list[HotspotNetwork]:
    """One a name and security, the strongest first; the one that this machine is on stays itself."""
    best: dict[tuple[str, bool], HotspotNetwork] = {}
    for each in sorted(networks, key=lambda network: (network.is_current, network.signal_strength), reverse=True):
        best.setdefault((each.ssid, each.is_secure), each)
    return sorted(best.values(), key=lambda network: (not network.is_current, -network.signal_strength, network.ssid))
