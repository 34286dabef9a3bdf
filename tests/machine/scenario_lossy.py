"""A bad line under a whole machine's tunnel: netem loses and delays packets, what is fetched arrives whole."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from tests.machine.emulated import Machine
from tests.machine.installed import PATIENCE, chatter, connected, installed
from tests.machine.world import SITE4, fetched, forget_sights, status

SIZE = 300_000
NETEM = "root netem loss 3% delay 30ms 10ms"
"""In either direction; the varying delay lets packets overtake each other."""


@pytest.fixture(scope="module")
def lossy(machine: Machine) -> Iterator[None]:
    with installed(machine):
        forget_sights(machine)
        machine.sh(f"tc qdisc add dev lan0 {NETEM}; tc -n world qdisc add dev port0 {NETEM}")
        yield
        machine.sh("tc qdisc del dev lan0 root; tc -n world qdisc del dev port0 root")


def lost(machine: Machine) -> int:
    """How many packets netem has dropped."""
    shown = machine.sh("tc -s qdisc show dev lan0; tc -n world -s qdisc show dev port0")
    return sum(map(int, re.findall(r"dropped (\d+)", shown)))


def test_downloads_arrive_whole(machine: Machine, lossy: None) -> None:
    """One alone, and three beside each other; status is true."""
    url = f"http://{SITE4}/bytes/{SIZE}"
    wanted = machine.sh(f"ip netns exec world curl -sS {url} | sha256sum")
    assert machine.ok("sh", "-c", f"curl -sS -m 800 {url} | sha256sum", timeout=PATIENCE) == wanted
    beside = f"for n in 1 2 3; do curl -sS -m 800 {url} | sha256sum & done; wait"
    assert machine.ok("sh", "-c", beside, timeout=PATIENCE) == wanted * 3
    assert lost(machine) > 0
    facts = status(machine)
    assert (facts["status"], facts["restarts"]) == ("connected", 0)
    assert facts["bytes_in"] >= 4 * SIZE
    assert chatter(machine) == []


def test_names_are_found(machine: Machine, lossy: None) -> None:
    for _ in range(5):
        machine.sh("resolvectl flush-caches")
        assert fetched(machine, "http://site.lab/", "-4") == f"hello {SITE4}"
    connected(machine)
