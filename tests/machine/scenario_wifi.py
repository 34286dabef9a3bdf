"""Wi-Fi: `tunflow wifi` by two managers, a tunnel that roams and loses its network, on-demand by the network's name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.machine import air
from tests.machine.emulated import Done, Machine
from tests.machine.installed import PATIENCE, PROFILE, chatter, connected, installed
from tests.machine.managers import network_manager
from tests.machine.world import SITE4, fetched, forget_sights, status

ON_DEMAND = (
    PROFILE.replace("kill_switch = true", "kill_switch = false")
    + """
[on_demand]
enabled = true
rules = [
  { action = "disconnect", interface_type = "wifi", ssid = ["Office"] },
  { action = "connect", interface_type = "wifi" },
]
"""
)


@pytest.fixture(scope="module")
def points(machine: Machine) -> Iterator[dict[str, str]]:
    """Two access points of one network; their BSSIDs by interface."""
    air.switch_on(machine)
    found = {name: air.start_point(machine, name, "Office") for name in air.POINTS}
    yield found
    for name in air.POINTS:
        air.stop_point(machine, name)
    air.switch_off(machine)


@pytest.fixture
def supplicant(machine: Machine, points: dict[str, str]) -> Iterator[None]:
    machine.write("/run/lab/wpa.conf", "ctrl_interface=DIR=/run/wpa_supplicant\nupdate_config=1\n")
    machine.sh("networkctl down lan0; wpa_supplicant -B -i wlan0 -P /run/lab/wpa.pid -c /run/lab/wpa.conf")
    yield
    machine.sh("kill $(cat /run/lab/wpa.pid); networkctl up lan0")


def wifi(machine: Machine, *arguments: str, stdin: str | None = None) -> Done:
    return machine.run("tunflow", "wifi", *arguments, timeout=PATIENCE, stdin=stdin)


def network(machine: Machine) -> dict[str, Any]:
    """The network that `tunflow wifi status` says."""
    return json.loads(wifi(machine, "status", "--json").out)["network"] or {}


def joins(machine: Machine, points: dict[str, str], manager: str) -> None:
    listed = json.loads(wifi(machine, "list", "--all", "--json").out)
    assert listed["backend"] == manager
    assert {(each["ssid"], each["bssid"]) for each in listed["networks"]} >= {
        ("Office", each) for each in points.values()
    }
    wrong = wifi(machine, "join", "Office", stdin="wrong passphrase\n")
    assert (wrong.status, wrong.err.strip()) == (2, "tunflow: cannot join 'Office': the passphrase is wrong")
    assert wifi(machine, "status").status == 3
    joined = wifi(machine, "join", "Office", stdin=air.PASSPHRASE + "\n")
    assert joined.status == 0, joined
    on = network(machine)
    assert (on["ssid"], on["is_secure"], on["is_current"]) == ("Office", True, True)
    assert on["bssid"] in points.values()
    machine.until("ip -4 addr show wlan0", "192.0.2.", PATIENCE)


def forgets(machine: Machine) -> None:
    assert wifi(machine, "forget", "Office").status == 0
    machine.until("tunflow wifi status || true", "is on no network", PATIENCE)


def test_wpa_supplicant_joins_roams_and_loses_it(machine: Machine, points: dict[str, str], supplicant: None) -> None:
    joins(machine, points, "wpa_supplicant")
    with installed(machine, PROFILE, "wlan0"):
        forget_sights(machine)
        assert "wlan0" in status(machine)["path"]
        other = next(bssid for bssid in points.values() if bssid != network(machine)["bssid"])
        machine.sh(f"wpa_cli -i wlan0 scan; sleep 5; wpa_cli -i wlan0 roam {other}")
        machine.until("tunflow wifi status", other, PATIENCE)
        connected(machine)
        assert fetched(machine, f"http://{SITE4}/") == f"hello {SITE4}"

        for name in air.POINTS:
            air.stop_point(machine, name)
        machine.until("tunflow wifi status || true", "is on no network", PATIENCE)
        machine.until("tunflow status --json || true", '"reasserting"', PATIENCE)
        for name in air.POINTS:
            air.start_point(machine, name, "Office")
        connected(machine)
        assert fetched(machine, f"http://{SITE4}/") == f"hello {SITE4}"
        assert chatter(machine) == []
    forgets(machine)


def test_network_manager_joins_and_forgets(machine: Machine, points: dict[str, str]) -> None:
    with network_manager(machine, cable=False):
        machine.until("nmcli -t -f DEVICE device", "wlan0", PATIENCE)
        joins(machine, points, "NetworkManager")
        with installed(machine, PROFILE, "wlan0"):
            assert fetched(machine, f"http://{SITE4}/") == f"hello {SITE4}"
        forgets(machine)


def test_the_networks_name_decides(machine: Machine, points: dict[str, str], supplicant: None) -> None:
    assert wifi(machine, "join", "Office", stdin=air.PASSPHRASE + "\n").status == 0
    machine.until("ip -4 addr show wlan0", "192.0.2.", PATIENCE)
    machine.write("/etc/tunflow/home.toml", ON_DEMAND)
    try:
        machine.ok("tunflow", "up", "/etc/tunflow/home.toml", timeout=PATIENCE)
        machine.until("tunflow status --json || true", '"disconnected"', PATIENCE)
        assert fetched(machine, f"http://{SITE4}/").startswith("hello 192.0.2.")
        air.stop_point(machine, "wlan2")
        air.start_point(machine, "wlan2", "Cafe", is_open=True)
        assert wifi(machine, "join", "Cafe", "--open").status == 0
        connected(machine)
        assert fetched(machine, f"http://{SITE4}/") == f"hello {SITE4}"
    finally:
        machine.ok("tunflow", "down", timeout=PATIENCE)
