"""Sleep: the kernel suspends the machine, its clock wakes it; the tunnel is there again, and nothing left beside it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.machine.emulated import Machine
from tests.machine.installed import PATIENCE, chatter, connected, installed
from tests.machine.world import SITE4, fetched, forget_sights

SECONDS = 20
"""Of sleep, by the emulated machine's clock."""


@pytest.fixture(scope="module")
def up(machine: Machine) -> Iterator[None]:
    with installed(machine):
        forget_sights(machine)
        yield


def test_the_tunnel_is_there_again_after_sleep(machine: Machine, up: None) -> None:
    """To RAM (ACPI S3)."""
    assert "[deep]" in machine.ok("cat", "/sys/power/mem_sleep")
    before = machine.journal("-u", "tunflow.service").count("the machine slept")
    machine.ok("rtcwake", "-m", "mem", "-s", str(SECONDS), timeout=PATIENCE)
    machine.until("journalctl -b -u tunflow.service | grep -c 'the machine slept'", str(before + 1), PATIENCE)
    connected(machine)
    assert fetched(machine, f"http://{SITE4}/") == f"hello {SITE4}"
    assert chatter(machine) == []
