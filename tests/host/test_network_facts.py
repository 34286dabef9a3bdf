"""What kind of network it is: by a made-up sysfs, and by NetworkManager as python-dbusmock plays it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from tunflow.host.network import network_facts
from tunflow.host.network.uplinks import Uplink, Uplinks
from tunflow.providers.network_path import InterfaceType, PathStatus

PYTHON = "/usr/bin/python3"
"""Debian's: python3-dbusmock needs its python3-dbus."""


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    for name, kind, uevent in (
        ("eth0", "1", "INTERFACE=eth0\n"),
        ("wlan0", "1", "DEVTYPE=wlan\nINTERFACE=wlan0\n"),
        ("wwan0", "65534", "DEVTYPE=wwan\nINTERFACE=wwan0\n"),
        ("tun0", "65534", "INTERFACE=tun0\n"),
    ):
        place = tmp_path / name
        place.mkdir()
        (place / "type").write_text(kind + "\n")
        (place / "uevent").write_text(uevent)
    (tmp_path / "wlan0" / "phy80211").mkdir()
    return tmp_path


def test_interface_types(sysfs: Path) -> None:
    found = {name: network_facts.interface_type(name, sysfs) for name in ("eth0", "wlan0", "wwan0", "tun0", "gone0")}
    assert found == {
        "eth0": InterfaceType.ETHERNET, "wlan0": InterfaceType.WIFI, "wwan0": InterfaceType.CELLULAR,
        "tun0": InterfaceType.OTHER, "gone0": InterfaceType.OTHER,
    }  # fmt: skip


def test_a_path_is_described(sysfs: Path) -> None:
    uplink = Uplink("eth0", 2, ip_address("10.0.0.2").packed, ip_address("10.0.0.1").packed)
    found = network_facts.describe(Uplinks((uplink,)), ["10.0.0.53", "fe80::1%eth0"], sysfs)
    assert (found.status, found.interface, found.interface_type) == (
        PathStatus.SATISFIED,
        "eth0",
        InterfaceType.ETHERNET,
    )
    assert found.gateways == (ip_address("10.0.0.1"),)
    assert found.dns_servers == (ip_address("10.0.0.53"), ip_address("fe80::1"))
    assert not network_facts.describe(Uplinks(), [], sysfs).is_satisfied


def test_search_domains(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("nameserver 10.0.0.1\n")
    two.write_text("domain old.example\nsearch corp.example lan .\n")
    assert network_facts.search_domains([tmp_path / "none", one, two]) == ("corp.example", "lan")


@pytest.fixture
def network_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A system bus of our own with NetworkManager on it: wlan0 is on the network "Office 5"."""
    if shutil.which("busctl") is None or subprocess.run([PYTHON, "-c", "import dbusmock"], check=False).returncode:
        if os.environ.get("CI"):
            pytest.fail("python3-dbusmock and busctl are missing: ./test installs them")
        pytest.skip("python3-dbusmock and busctl are missing: NOT RUN")
    bus = subprocess.Popen(
        ["dbus-daemon", "--session", "--nofork", "--print-address", f"--address=unix:path={tmp_path}/bus"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert bus.stdout is not None
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.stdout.readline().strip())
    manager = subprocess.Popen(
        [PYTHON, "-m", "dbusmock", "--system", "--template", "networkmanager"], stdout=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        # Not `busctl status`, which wants the owner's credentials and control group too.
        bus_itself = ["org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus"]
        ask = ["busctl", "call", *bus_itself, "GetNameOwner", "s", NAME]
        while subprocess.run(ask, capture_output=True, check=False).returncode:
            assert time.monotonic() < deadline, "NetworkManager's mock does not come up"
        device = mock("AddWiFiDevice", "ssi", "wifi0", "wlan0", "100")
        point = mock(
            "AddAccessPoint",
            "ssssuuuyu",
            device,
            "ap0",
            "Office 5",
            "00:11:22:33:44:55",
            "2",
            "2425",
            "5400",
            "82",
            "1",
        )
        values = (f"{NAME}.Device.Wireless", "ActiveAccessPoint", "o", point)
        mock("AddProperty", "ssv", *values, path=device)
        yield
    finally:
        for process in (manager, bus):
            process.terminate()
            process.communicate()


NAME = "org.freedesktop.NetworkManager"


def mock(method: str, signature: str, *arguments: str, path: str = "/org/freedesktop/NetworkManager") -> str:
    """Call the mock's own method; the string that it answers."""
    command = ["busctl", "call", NAME, path]
    done = subprocess.run(
        [*command, "org.freedesktop.DBus.Mock", method, signature, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.partition('"')[2].rpartition('"')[0]


def test_network_manager_tells_the_ssid(network_manager: None) -> None:
    assert network_facts.network_managers_ssid("wlan0") == "Office 5"
    assert network_facts.network_managers_ssid("eth7") is None


def test_without_network_manager_nobody_tells(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    assert network_facts.ssid("lo") is None
