"""`tunflow service install` on a real systemd: boot, kill switch before the network is up, crash, stop."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.machine.emulated import Machine
from tests.machine.installed import CHATTER, IS_ACTIVE, PATIENCE, PLACE, PROFILE, chatter
from tests.machine.world import SITE4, fetched, picture, status


@pytest.fixture(scope="module")
def before(machine: Machine) -> dict[str, str]:
    """What the host was before anything of tunflow's was there."""
    machine.until("ip -4 addr show lan0", "192.0.2.", PATIENCE)
    machine.until("ip -6 addr show lan0", "2001:db8:1:", PATIENCE)
    return picture(machine)


@pytest.fixture(scope="module")
def installed(machine: Machine, before: dict[str, str]) -> Iterator[None]:
    machine.write(PLACE, PROFILE)
    machine.ok("tunflow", "service", "install", PLACE, "--kill-switch-at-boot")
    machine.reboot()
    yield
    machine.ok("tunflow", "service", "remove")


def test_without_a_guard_the_witness_sees_what_leaves(machine: Machine, before: dict[str, str]) -> None:
    """So that seeing nothing means something below."""
    assert before
    for target in CHATTER:
        machine.until("cat /run/lab/seen", target, PATIENCE)


def test_boot_brings_it_up(machine: Machine, installed: None) -> None:
    machine.until(IS_ACTIVE, "active", PATIENCE)
    assert status(machine)["status"] == "connected"
    assert fetched(machine, f"http://{SITE4}/") == f"hello {SITE4}"  # the server's own address: it went through it
    assert machine.ok("systemctl", "show", "-P", "NRestarts", "tunflow.service") == "0\n"


def test_the_kill_switch_holds_from_before_the_network_on(machine: Machine, installed: None) -> None:
    machine.until(IS_ACTIVE, "active", PATIENCE)
    assert chatter(machine) == []
    show = ("systemctl", "show", "-P", "ActiveEnterTimestampMonotonic")
    guard, network = (int(machine.ok(*show, f"{name}.service")) for name in ("tunflow-guard", "systemd-networkd"))
    assert 0 < guard < network


def test_systemd_starts_it_again_after_a_crash(machine: Machine, installed: None) -> None:
    machine.until(IS_ACTIVE, "active", PATIENCE)
    machine.sh("kill -9 $(systemctl show -P MainPID tunflow.service)")
    machine.until("systemctl show -P NRestarts tunflow.service", "1", PATIENCE)
    machine.until("tunflow status --json", '"connected"', PATIENCE)
    assert fetched(machine, f"http://{SITE4}/") == f"hello {SITE4}"
    assert chatter(machine) == []


def test_stop_puts_the_host_back(machine: Machine, before: dict[str, str], installed: None) -> None:
    machine.until(IS_ACTIVE, "active", PATIENCE)
    machine.ok("systemctl", "stop", "tunflow.service")
    after = picture(machine)
    for name in ("rules", "nft", "resolv.conf"):
        assert after[name] == before[name]
    assert "tunflow" not in after["addresses"] + after["routes"] + after["resolved"]
