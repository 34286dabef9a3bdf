"""Wi-Fi by NetworkManager: its access points on the system bus, and its own nmcli(1) to join and to forget. Blocks.

A passphrase goes to nmcli's standard input, as a password file (nmcli(1), `passwd-file`), never among arguments.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

from tunflow.errors import LocalError
from tunflow.host.network import system_bus
from tunflow.host.wifi.backend import WifiBackend
from tunflow.host.wifi.wpa_control import check_passphrase
from tunflow.providers.hotspot_network import HotspotNetwork

SERVICE = "org.freedesktop.NetworkManager"
_ROOT = "/org/freedesktop/NetworkManager"
_WIRELESS = f"{SERVICE}.Device.Wireless"
_POINT = f"{SERVICE}.AccessPoint"
_PRIVACY = 1
"""NM_802_11_AP_FLAGS_PRIVACY."""
_JOIN_SECONDS = 45


def runs() -> bool:
    """Return True if NetworkManager is on the bus."""
    return system_bus.has_busctl() and system_bus.property_of(SERVICE, _ROOT, SERVICE, "Version") is not None


class NetworkManager(WifiBackend):
    """The one of this host."""

    name = "NetworkManager"

    def networks(self) -> list[HotspotNetwork]:
        """As `WifiBackend.networks`."""
        device = self._device()
        system_bus.call(SERVICE, device, _WIRELESS, "RequestScan", "a{sv}", "0")  # it refuses while one is new enough
        points = system_bus.call(SERVICE, device, _WIRELESS, "GetAllAccessPoints")
        current = system_bus.property_of(SERVICE, device, _WIRELESS, "ActiveAccessPoint")
        paths = points[0] if isinstance(points, list) and points and isinstance(points[0], list) else []
        return [_network(system_bus.properties_of(SERVICE, path, _POINT), path == current) for path in paths]

    def current(self) -> HotspotNetwork | None:
        """As `WifiBackend.current`."""
        path = system_bus.property_of(SERVICE, self._device(), _WIRELESS, "ActiveAccessPoint")
        if not isinstance(path, str) or path == "/":
            return None
        return _network(system_bus.properties_of(SERVICE, path, _POINT), True)

    def join(self, ssid: str, passphrase: str | None) -> None:
        """As `WifiBackend.join`."""
        add = ["connection", "add", "type", "wifi", "con-name", ssid, "ssid", ssid, "ifname", self.interface]
        secrets = ""
        if passphrase is not None:
            check_passphrase(passphrase)
            add += ["wifi-sec.key-mgmt", "wpa-psk"]
            secrets = f"802-11-wireless-security.psk:{passphrase}\n"
        is_new = ssid not in self.saved()
        if is_new:
            self._nmcli(add)
        try:
            self._nmcli(
                ["connection", "up", "id", ssid, "ifname", self.interface, "passwd-file", "/dev/stdin"], secrets
            )
        except LocalError as error:
            if is_new:  # what was saved before stays saved
                self._nmcli(["connection", "delete", "id", ssid])
            raise LocalError(f"cannot join {ssid!r}: {_why(str(error))}") from None

    def forget(self, ssid: str) -> None:
        """As `WifiBackend.forget`."""
        if ssid not in self.saved():
            raise LocalError(f"no saved network is called {ssid!r}")
        self._nmcli(["connection", "delete", "id", ssid])

    def saved(self) -> list[str]:
        """As `WifiBackend.saved`."""
        lines = self._nmcli(["--terse", "--escape", "no", "--fields", "TYPE,NAME", "connection", "show"]).splitlines()
        kinds = [line.partition(":") for line in lines]
        return [name for kind, _, name in kinds if kind in {"802-11-wireless", "wifi"}]

    def _device(self) -> str:
        answer = system_bus.call(SERVICE, _ROOT, SERVICE, "GetDeviceByIpIface", "s", self.interface)
        if not isinstance(answer, list) or not answer or not isinstance(answer[0], str):
            raise LocalError(f"NetworkManager does not manage {self.interface}")
        return answer[0]

    def _nmcli(self, arguments: list[str], text: str = "") -> str:
        if shutil.which("nmcli") is None:
            raise LocalError("nmcli is missing: install network-manager")
        try:
            done = subprocess.run(
                ["nmcli", *arguments], input=text, capture_output=True, text=True, timeout=_JOIN_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise LocalError(f"nmcli has not answered for {_JOIN_SECONDS} s") from None
        if done.returncode:
            raise LocalError(done.stderr.strip().partition("\n")[0] or f"nmcli ended with {done.returncode}")
        return done.stdout


def _network(facts: dict[str, Any], is_current: bool) -> HotspotNetwork:
    ssid, strength = facts.get("Ssid"), facts.get("Strength")
    flags = [facts.get(name) for name in ("WpaFlags", "RsnFlags")]
    privacy = facts.get("Flags")
    return HotspotNetwork(
        bytes(ssid).decode("utf-8", "replace") if isinstance(ssid, list) else "",
        str(facts.get("HwAddress", "")).lower(),
        min(strength, 100) / 100 if isinstance(strength, int) else 0.0,
        any(flags) or (isinstance(privacy, int) and bool(privacy & _PRIVACY)),
        is_current=is_current,
    )


def _why(line: str) -> str:
    words = line.lower()
    if "secrets were required" in words or "802.1x supplicant" in words or "(7)" in words:
        return "the passphrase is wrong"
    if "no network with ssid" in words or ("ssid" in words and "not found" in words):
        return "there is no such network here"
    return line
