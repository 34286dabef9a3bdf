"""Who manages this host's Wi-Fi: NetworkManager, a wpa_supplicant of its own, or nobody but the kernel."""

from __future__ import annotations

from pathlib import Path

from tunflow.host.wifi import network_manager, wpa_supplicant
from tunflow.host.wifi.backend import SYSFS, WifiBackend, chosen
from tunflow.host.wifi.nl80211 import Nl80211


def find_wifi(interface: str | None = None, sysfs: Path = SYSFS, sockets: Path = wpa_supplicant.SOCKETS) -> WifiBackend:
    """The Wi-Fi of an interface, or of the first with a radio. Raises LocalError where there is none."""
    name = chosen(interface, sysfs)
    if network_manager.runs():
        return network_manager.NetworkManager(name)
    if (sockets / name).is_socket():
        return wpa_supplicant.WpaSupplicant(name, sockets)
    return Nl80211(name)
