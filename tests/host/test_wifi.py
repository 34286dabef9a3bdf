"""Wi-Fi of this host: who manages it, and that NetworkManager and wpa_supplicant do the same when asked the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wifi_peers import PASSPHRASE, Supplicant, write_nmcli

from tunflow.errors import BadPacket, LocalError
from tunflow.host.network import network_facts, system_bus
from tunflow.host.wifi import wpa_control
from tunflow.host.wifi.backend import WifiBackend, chosen, interfaces, strongest
from tunflow.host.wifi.found import find_wifi
from tunflow.host.wifi.network_manager import NetworkManager
from tunflow.host.wifi.nl80211 import Nl80211, network_of
from tunflow.host.wifi.wpa_supplicant import WpaSupplicant
from tunflow.providers.hotspot_network import HotspotNetwork

PYTHON = "/usr/bin/python3"
"""Debian's: python3-dbusmock needs its python3-dbus."""
NAME = "org.freedesktop.NetworkManager"


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    """A machine with a radio that is not blocked."""
    (tmp_path / "net" / "wlan0" / "phy80211").mkdir(parents=True)
    (tmp_path / "net" / "eth0").mkdir()
    switch = tmp_path / "rfkill" / "rfkill0"
    switch.mkdir(parents=True)
    for name, value in (("type", "wlan"), ("soft", "0"), ("hard", "0")):
        (switch / name).write_text(value + "\n")
    return tmp_path


def test_a_machine_with_a_radio(sysfs: Path) -> None:
    assert interfaces(sysfs) == ["wlan0"]
    assert chosen(None, sysfs) == chosen("wlan0", sysfs) == "wlan0"
    with pytest.raises(LocalError, match="eth0 has no radio: there is wlan0"):
        chosen("eth0", sysfs)


@pytest.mark.parametrize(("switch", "line"), [("soft", "rfkill unblock wifi"), ("hard", "a switch of this machine")])
def test_a_blocked_radio(sysfs: Path, switch: str, line: str) -> None:
    (sysfs / "rfkill" / "rfkill0" / switch).write_text("1\n")
    with pytest.raises(LocalError, match=line):
        interfaces(sysfs)


def test_no_radio(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="no Wi-Fi"):
        interfaces(tmp_path)


def test_who_manages_it(sysfs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    assert isinstance(find_wifi(None, sysfs, tmp_path), Nl80211)
    with Supplicant(tmp_path / "wlan0"):
        assert isinstance(find_wifi(None, sysfs, tmp_path), WpaSupplicant)


# One suite for whoever can join.


@pytest.fixture(params=["wpa_supplicant", "NetworkManager"])
def backend(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WifiBackend]:
    with ExitStack() as stack:
        if request.param == "wpa_supplicant":
            stack.enter_context(Supplicant(tmp_path / "wlan0"))
            yield WpaSupplicant("wlan0", tmp_path, join_patience=1.0)
            return
        write_nmcli(tmp_path)
        (tmp_path / "known").write_text("Office 5\n")
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        _start_network_manager(stack, tmp_path, monkeypatch)
        yield NetworkManager("wlan0")


def _start_network_manager(stack: ExitStack, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system bus of our own with NetworkManager on it, as python-dbusmock plays it."""
    if shutil.which("busctl") is None or subprocess.run([PYTHON, "-c", "import dbusmock"], check=False).returncode:
        if os.environ.get("CI"):
            pytest.fail("python3-dbusmock and busctl are missing: ./test installs them")
        pytest.skip("python3-dbusmock and busctl are missing: NOT RUN")
    bus = subprocess.Popen(
        ["dbus-daemon", "--session", "--nofork", "--print-address", f"--address=unix:path={folder}/bus"],
        stdout=subprocess.PIPE,
        text=True,
    )
    stack.callback(_end, bus)
    assert bus.stdout is not None
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.stdout.readline().strip())
    manager = subprocess.Popen(
        [PYTHON, "-m", "dbusmock", "--system", "--template", "networkmanager"], stdout=subprocess.DEVNULL
    )
    stack.callback(_end, manager)
    deadline = time.monotonic() + 30
    bus_itself = ["org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus"]
    ask = ["busctl", "call", *bus_itself, "GetNameOwner", "s", NAME]
    while subprocess.run(ask, capture_output=True, check=False).returncode:
        assert time.monotonic() < deadline, "NetworkManager's mock does not come up"
    device = _mock("AddWiFiDevice", "ssi", "wifi0", "wlan0", "100")
    office = ("ap0", "Office 5", "00:11:22:33:44:55", "2", "2425", "5400", "82", "1")
    cafe = ("ap1", "Café", "00:11:22:33:44:66", "2", "5180", "5400", "30", "0")
    point = _mock("AddAccessPoint", "ssssuuuyu", device, *office)
    _mock("AddAccessPoint", "ssssuuuyu", device, *cafe)
    _mock("AddProperty", "ssv", f"{NAME}.Device.Wireless", "ActiveAccessPoint", "o", point, path=device)


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.communicate()


def _mock(method: str, signature: str, *arguments: str, path: str = "/org/freedesktop/NetworkManager") -> str:
    """Call the mock's own method; the string that it answers."""
    argv = ["busctl", "call", NAME, path, "org.freedesktop.DBus.Mock", method, signature, *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.partition('"')[2].rpartition('"')[0]


def test_the_suite(backend: WifiBackend) -> None:
    """In one go, as what it is asked is slow to start."""
    networks = strongest(backend.networks())
    assert [(each.ssid, each.bssid, each.is_secure, each.is_current, each.bars) for each in networks] == [
        ("Office 5", "00:11:22:33:44:55", True, True, "▂▄▆"),
        ("Café", "00:11:22:33:44:66", False, False, "▂"),
    ]
    current = backend.current()
    assert current is not None
    assert (current.ssid, current.is_current, current.is_secure) == ("Office 5", True, True)
    assert backend.saved() == ["Office 5"]
    backend.join("Home", PASSPHRASE)
    assert backend.saved() == ["Office 5", "Home"]
    backend.forget("Home")
    with pytest.raises(LocalError, match="cannot join 'Home': the passphrase is wrong"):
        backend.join("Home", "wrong horse")
    with pytest.raises(LocalError, match="cannot join 'Nowhere': there is no such network here"):
        backend.join("Nowhere", PASSPHRASE)
    with pytest.raises(LocalError, match="cannot join 'Office 5': the passphrase is wrong"):
        backend.join("Office 5", "wrong horse")
    assert backend.saved() == ["Office 5"]
    backend.join("Office 5", None)
    assert backend.saved() == ["Office 5"]
    backend.join("Office 5", PASSPHRASE)
    assert backend.saved() == ["Office 5"]
    with pytest.raises(LocalError, match="no saved network is called 'Elsewhere'"):
        backend.forget("Elsewhere")
    for passphrase in ("short", "x" * 64, "umläuts!", "two\nlines of it"):
        with pytest.raises(LocalError, match="8 to 63"):
            backend.join("Home", passphrase)
    assert backend.saved() == ["Office 5"]


def test_a_scan_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """NetworkManager that was started a moment ago knows no network yet, and scans in the background."""
    asked: list[str] = []

    def property_of(_service: str, _path: str, _interface: str, name: str) -> object:
        asked.append(name)
        return {"LastScan": -1 if asked.count("LastScan") < 3 else 1234, "ActiveAccessPoint": "/"}[name]

    def call(_service: str, _path: str, _interface: str, method: str, *_: str) -> object:
        asked.append(method)
        points = ["/ap"] if asked.count("LastScan") >= 5 else []  # two after the first scan has ended
        return {"GetDeviceByIpIface": ["/wlan0"], "RequestScan": None, "GetAllAccessPoints": [points]}[method]

    monkeypatch.setattr(system_bus, "property_of", property_of)
    monkeypatch.setattr(system_bus, "call", call)
    monkeypatch.setattr(system_bus, "properties_of", lambda *_: {"Ssid": list(b"Office")})
    assert [each.ssid for each in NetworkManager("wlan0").networks()] == ["Office"]
    assert "RequestScan" in asked


def test_joining_leaves_other_networks_as_they_were(tmp_path: Path) -> None:
    """Also where it fails: a mistyped passphrase must not leave the machine without a network."""
    with Supplicant(tmp_path / "wlan0", disabled=["Old"]) as supplicant:
        wifi = WpaSupplicant("wlan0", tmp_path, join_patience=1.0)
        for ssid, passphrase in (("Home", "wrong horse"), ("Nowhere", PASSPHRASE)):
            with pytest.raises(LocalError, match="cannot join"):
                wifi.join(ssid, passphrase)
            assert supplicant.joined_by_itself() == ["Office 5"]
        wifi.join("Home", PASSPHRASE)
        assert supplicant.joined_by_itself() == ["Office 5", "Home"]


def test_the_kernel_alone_joins_nothing() -> None:
    for ask in (lambda: Nl80211("wlan0").join("Home", None), lambda: Nl80211("wlan0").forget("Home")):
        with pytest.raises(LocalError, match="neither NetworkManager nor wpa_supplicant"):
            ask()


class Kernel:
    """pyroute2's IW with a radio: what a scan heard, of which this machine is on the second."""

    prid = 32

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def nlm_request(self, request: dict[str, object], msg_type: int, msg_flags: int) -> Iterator[Kernel]:
        assert (request["cmd"], msg_type, msg_flags & 0x300) == (32, self.prid, 0x300)  # GET_SCAN, a dump
        for self.bssid, self.status in (("02:00:00:00:00:01", None), ("02:00:00:00:00:02", 1)):
            yield self

    def get_attr(self, name: str) -> object:
        assert name == "NL80211_ATTR_BSS"
        elements = {"SSID": b"Office" if self.status else b"Cafe"}
        return {
            "attrs": [
                ("NL80211_BSS_BSSID", self.bssid),
                ("NL80211_BSS_INFORMATION_ELEMENTS", elements),
                ("NL80211_BSS_STATUS", self.status),
            ]
        }


def test_the_network_that_the_kernel_did_not_connect_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """With wpa_supplicant an interface has no SSID of its own (NL80211_ATTR_SSID), only the scan has it."""
    monkeypatch.setattr("pyroute2.iwutil.IW", Kernel)
    assert network_facts.ssid("lo") == "Office"
    current = Nl80211("lo").current()
    assert current is not None
    assert (current.ssid, current.bssid, current.is_current) == ("Office", "02:00:00:00:00:02", True)


def test_what_the_kernel_says() -> None:
    attributes = {
        "NL80211_BSS_BSSID": "02:00:00:00:00:01",
        "NL80211_BSS_INFORMATION_ELEMENTS": {"SSID": b"Caf\xc3\xa9", "RSN": {}},
        "NL80211_BSS_SIGNAL_MBM": {"SIGNAL_STRENGTH": {"VALUE": -60.0, "UNITS": "dBm"}},
        "NL80211_BSS_STATUS": 1,
    }
    assert network_of(attributes) == HotspotNetwork("Café", "02:00:00:00:00:01", 0.8, True, is_current=True)
    assert network_of({}) is None


def test_nobody_answers(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="wpa_supplicant cannot be asked"):
        WpaSupplicant("wlan0", tmp_path).networks()


def test_one_a_network() -> None:
    weak, strong, other = (HotspotNetwork("a", "1", 0.2, True), HotspotNetwork("a", "2", 0.9, True),
                           HotspotNetwork("a", "3", 1.0, False))  # fmt: skip
    assert strongest([weak, strong, other]) == [other, strong]


@given(st.binary(max_size=300))
def test_any_answer(data: bytes) -> None:
    for parse in (wpa_control.scan_results_untrusted, wpa_control.status_untrusted, wpa_control.saved_untrusted):
        with suppress(BadPacket):
            parse(data)
    wpa_control.failure_of_event(data)
