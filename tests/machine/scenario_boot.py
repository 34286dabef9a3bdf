"""One power on of a machine that has the service with the kill switch at boot: boot, crash, systemd's restart, stop.

The shortest of all: what `scenario_service` shows in two boots, but for the installation on a running systemd.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.machine import prepared
from tests.machine.conftest import RESULTS
from tests.machine.emulated import Machine
from tests.machine.image import Image
from tests.machine.installed import CHATTER, IS_ACTIVE, PATIENCE, PROFILE, chatter
from tests.machine.payload import Payload
from tests.machine.world import SITE4, fetched, picture, status

SHOW = "systemctl show -P"
RULES = [
    *("0: from all lookup local", "32766: from all lookup main", "32767: from all lookup default"),
    *("0: from all lookup local", "32766: from all lookup main"),
]
"""`ip rule; ip -6 rule` of a host that nobody changed."""


@pytest.fixture(scope="module")
def machine(debian: Image, carried: Payload, work: Path) -> Iterator[Machine]:
    """One of its own."""
    with Machine(prepared.made(debian, carried, PROFILE, work), carried.disk, RESULTS) as started:
        yield started


def wait_active(machine: Machine) -> None:
    """Wait inside: each look costs a second."""
    machine.sh(f"until {IS_ACTIVE} -q; do sleep 2; done", timeout=PATIENCE)


def test_from_power_on_to_stop(machine: Machine) -> None:
    """In order: each step stands on the one before."""
    wait_active(machine)
    assert fetched(machine, f"http://{SITE4}/") == f"hello {SITE4}"  # the server's own address: it went through it
    guard, network = (
        int(machine.sh(f"{SHOW} ActiveEnterTimestampMonotonic {name}.service"))
        for name in ("tunflow-guard", "systemd-networkd")
    )
    assert 0 < guard < network
    assert chatter(machine) == []

    killed = f"kill -9 $({SHOW} MainPID tunflow.service); curl -sS -m 5 http://{SITE4}/"
    assert "hello" not in machine.run("sh", "-c", killed).out  # held, and not around the tunnel
    machine.sh(f"while [ $({SHOW} NRestarts tunflow.service) = 0 ]; do sleep 1; done", timeout=PATIENCE)
    wait_active(machine)
    facts = status(machine)
    assert (facts["status"], facts["restarts"]) == ("connected", 1)
    assert facts["last_cause"] == "the supervisor ended unforeseen"
    assert fetched(machine, f"http://{SITE4}/") == f"hello {SITE4}"
    assert chatter(machine) == []

    changed = json.loads(machine.sh("cat /run/tunflow/host.json"))["sysctls"]
    machine.ok("systemctl", "stop", "tunflow.service", timeout=PATIENCE)
    after = picture(machine)
    assert [" ".join(line.split()) for line in after["rules"].splitlines()] == RULES
    assert after["nft"] == ""
    assert "stub-resolv.conf" in after["resolv.conf"].splitlines()[0]
    assert "tunflow" not in "".join(after.values())
    for name, (before, _) in changed.items():
        assert machine.sh(f"cat /proc/sys/net/{name}").strip() == before.strip(), name
    for target in CHATTER:  # so that having seen nothing means something
        machine.until("cat /run/lab/seen", target, PATIENCE)
