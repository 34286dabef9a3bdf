"""Processes that hang under systemd: its watchdog ends the supervisor, the supervisor ends the one that serves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.machine.emulated import Machine
from tests.machine.installed import PATIENCE, chatter, connected, installed
from tests.machine.world import SITE4, fetched, forget_sights, status

SHOW = "systemctl show tunflow.service -P"


@pytest.fixture(scope="module")
def up(machine: Machine) -> Iterator[None]:
    with installed(machine):
        forget_sights(machine)
        yield


def test_the_supervisor_starts_again_what_serves_and_hangs(machine: Machine, up: None) -> None:
    serving = machine.sh(f"cat /proc/$({SHOW} MainPID)/task/*/children").split()[0]
    machine.ok("kill", "-STOP", serving)
    machine.until(f"test ! -e /proc/{serving}", timeout=PATIENCE)
    connected(machine)
    assert machine.sh(f"{SHOW} NRestarts") == "0\n"
    facts = status(machine)
    assert facts["restarts"] == 1
    assert "and was killed" in facts["last_cause"]
    assert fetched(machine, f"http://{SITE4}/") == f"hello {SITE4}"
    assert chatter(machine) == []


def test_systemds_watchdog_starts_again_what_hangs(machine: Machine, up: None) -> None:
    machine.sh(f"kill -STOP $({SHOW} MainPID)")
    machine.until(f"{SHOW} NRestarts", "1", PATIENCE)
    connected(machine)
    assert "Watchdog timeout" in machine.journal("-u", "tunflow.service")
    assert fetched(machine, f"http://{SITE4}/") == f"hello {SITE4}"
    assert chatter(machine) == []
