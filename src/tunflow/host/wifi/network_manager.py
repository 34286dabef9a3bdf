"""Wi-Fi by NetworkManager: its access points on the system bus, and its own nmcli(1) to join and to forget. Blocks.

A passphrase goes to nmcli's standard input, as a password file (nmcli(1), `passwd-file`), never among arguments.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import time
from contextlib import suppress
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
_KEY_WANTED = b"need authentication"
"""What nmcli says of a device whose network's key is asked for: once, and again when it was wrong."""
_WRONG = "the passphrase is wrong"
SCAN_PATIENCE = 8.0
_FRESH_MS = 10_000
"""NetworkManager refuses to scan again so soon."""


def runs() -> bool:
    """Return True if NetworkManager is on the bus."""
    return system_bus.has_busctl() and system_bus.property_of(SERVICE, _ROOT, SERVICE, "Version") is not None


class NetworkManager(WifiBackend):
    """The one of this host."""

    name = "NetworkManager"

    def networks(self) -> list[HotspotNetwork]:
        """As `WifiBackend.networks`."""
        device = self._device()
        points = self._points(device)
        last = system_bus.property_of(SERVICE, device, _WIRELESS, "LastScan")
        if isinstance(last, int) and not (points and last > _boot_ms() - _FRESH_MS):
            points = self._scanned(device, last)
        current = system_bus.property_of(SERVICE, device, _WIRELESS, "ActiveAccessPoint")
        return [_network(system_bus.properties_of(SERVICE, path, _POINT), path == current) for path in points]

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
            self._up(ssid, secrets)
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

    def _scanned(self, device: str, last: int) -> list[str]:
        """What is there after a scan since `last`. The first after a start ends with nothing: more are waited for."""
        deadline = time.monotonic() + SCAN_PATIENCE
        points: list[str] = []
        system_bus.call(SERVICE, device, _WIRELESS, "RequestScan", "a{sv}", "0")
        while time.monotonic() < deadline:
            time.sleep(0.1)
            if system_bus.property_of(SERVICE, device, _WIRELESS, "LastScan") != last and (
                points := self._points(device)
            ):
                break
        return points or self._points(device)

    def _points(self, device: str) -> list[str]:
        answer = system_bus.call(SERVICE, device, _WIRELESS, "GetAllAccessPoints")
        return answer[0] if isinstance(answer, list) and answer and isinstance(answer[0], list) else []

    def _device(self) -> str:
        answer = system_bus.call(SERVICE, _ROOT, SERVICE, "GetDeviceByIpIface", "s", self.interface)
        if not isinstance(answer, list) or not answer or not isinstance(answer[0], str):
            raise LocalError(f"NetworkManager does not manage {self.interface}")
        return answer[0]

    def _up(self, ssid: str, secrets: str) -> None:
        """Have a saved network joined. Raises LocalError.

        When a key is wrong NetworkManager asks for it again, and nmcli gives it the same for ever: so what the device
        does is watched meanwhile.
        """
        if shutil.which("nmcli") is None:
            raise LocalError("nmcli is missing: install network-manager")
        up = ["nmcli", "connection", "up", "id", ssid, "ifname", self.interface, "passwd-file", "/dev/stdin"]
        watch = ["nmcli", "device", "monitor", self.interface]
        pipe, none, plain = subprocess.PIPE, subprocess.DEVNULL, {**os.environ, "LC_ALL": "C"}
        with (
            subprocess.Popen(watch, stdin=none, stdout=pipe, stderr=none, env=plain) as watching,
            subprocess.Popen(up, stdin=pipe, stdout=none, stderr=pipe, env=plain) as joining,
        ):
            assert watching.stdout is not None
            assert joining.stdin is not None
            with suppress(BrokenPipeError), joining.stdin as file:
                file.write(secrets.encode())
            joining.stdin = None
            seen, deadline = b"", time.monotonic() + _JOIN_SECONDS
            while joining.poll() is None and seen.count(_KEY_WANTED) < 2 and time.monotonic() < deadline:
                if select.select([watching.stdout], [], [], 0.1)[0]:
                    seen += os.read(watching.stdout.fileno(), 4096) or b"\n"
                    time.sleep(0.01)
            watching.terminate()
            joining.terminate()
            error = joining.communicate()[1].decode(errors="replace").strip().partition("\n")[0]
        if seen.count(_KEY_WANTED) > 1:
            raise LocalError(_WRONG)
        if joining.returncode:
            ended = f"nmcli ended with {joining.returncode}" if time.monotonic() < deadline else ""
            raise LocalError(error or ended or f"nmcli has not answered for {_JOIN_SECONDS} s")

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


def _boot_ms() -> float:
    """Milliseconds since boot, as `LastScan` counts them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) * 1000


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
        return _WRONG
    if "no network with ssid" in words or ("ssid" in words and "not found" in words):
        return "there is no such network here"
    return line
