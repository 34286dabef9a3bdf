"""Who manages the uplink and the names: systemd-networkd and NetworkManager, with systemd-resolved and split DNS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.machine.emulated import Machine
from tests.machine.installed import PATIENCE, PROFILE, chatter, connected, installed
from tests.machine.managers import network_manager
from tests.machine.world import SITE4, fetched, forget_sights, picture, sights

OPEN = PROFILE.replace("kill_switch = true", "kill_switch = false")
SPLIT = OPEN + 'match_domains = ["lab"]\n'
OTHER_ADDRESS = """\
[Match]
Name=lan0
[Network]
Address=192.0.2.77/24
Gateway=192.0.2.1
DNS=192.0.2.1
"""
OTHER_PLACE = "/run/systemd/network/05-lan0.network"
PUT_BACK = "the tunnel's resolvers are put back"


@pytest.fixture(autouse=True)
def _resolver_known(machine: Machine) -> None:
    """A machine that has just booted, or whose networkd was started again, learns its resolver a little later."""
    machine.until("resolvectl dns lan0", "fe80:", PATIENCE)


@contextmanager
def unchanged(machine: Machine) -> Iterator[None]:
    """See that the host is afterwards what it was before."""
    before = picture(machine)
    yield
    after = picture(machine)
    for name in ("rules", "nft", "resolv.conf", "resolved"):
        assert after[name] == before[name]
    assert "tunflow" not in after["addresses"] + after["routes"]


def names_in_sight(machine: Machine) -> list[str]:
    """Where the witness saw names asked for."""
    return [each.target for each in sights(machine) if each.port == 53]


def carries(machine: Machine) -> None:
    """The tunnel is there, finds names, and nothing went around it."""
    connected(machine)
    assert fetched(machine, "http://site.lab/", "-4") == f"hello {SITE4}"
    assert names_in_sight(machine) == []
    assert chatter(machine) == []


def cable_out_and_in(machine: Machine) -> None:
    """Pull the cable out at the other end until the tunnel has noticed, and put it in again."""
    machine.sh("ip -n world link set port0 down")
    machine.until("tunflow status --json || true", '"reasserting"', PATIENCE)
    machine.sh("ip -n world link set port0 up")


@pytest.mark.parametrize("profile", [PROFILE, SPLIT], ids=["all", "split"])
def test_resolved_asks_the_tunnel(machine: Machine, profile: str) -> None:
    """For all names, or for those below `lab`; others then go to the network's resolver as before."""
    with unchanged(machine), installed(machine, profile):
        machine.sh("resolvectl flush-caches")
        forget_sights(machine)
        assert SITE4 in machine.sh("resolvectl query -4 site.lab")
        assert fetched(machine, "http://site.lab/", "-4") == f"hello {SITE4}"
        assert names_in_sight(machine) == []
        machine.run("resolvectl", "query", "-4", "elsewhere.example")
        assert set(names_in_sight(machine)) <= ({"192.0.2.1"} if profile == SPLIT else set())
        assert bool(names_in_sight(machine)) == (profile == SPLIT)
        assert PUT_BACK not in machine.ok("tunflow", "logs")


def test_networkd_has_the_uplink(machine: Machine) -> None:
    """Down and up, cable out and in, another address and the old one."""
    with unchanged(machine), installed(machine):
        forget_sights(machine)
        machine.sh("networkctl down lan0")
        machine.until("tunflow status --json || true", '"reasserting"', PATIENCE)
        machine.sh("networkctl up lan0")
        carries(machine)
        cable_out_and_in(machine)
        carries(machine)
        machine.write(OTHER_PLACE, OTHER_ADDRESS, "644")
        machine.sh("networkctl reload")
        machine.until("tunflow status || true", "from 192.0.2.77", PATIENCE)
        carries(machine)
        machine.sh(f"rm {OTHER_PLACE}; networkctl reload")
        machine.until("tunflow status || true", "from 192.0.2.1", PATIENCE)
        machine.until("resolvectl dns lan0", "fe80:", PATIENCE)
        carries(machine)


def test_networkd_leaves_the_tunnels_rules_alone(machine: Machine) -> None:
    """Nothing but them holds the traffic without a kill switch: networkd sets the uplink up anew, and is restarted."""
    with installed(machine, OPEN):
        forget_sights(machine)
        machine.sh("ip monitor label rule address >/run/lab/monitored 2>&1 & echo $! >/run/lab/monitor")
        try:
            machine.sh("networkctl reconfigure lan0")
            # Debian 13's has the address again within 0.1 s, which the tunnel may not even see.
            machine.until("grep 'ADDR.*inet 192' /run/lab/monitored | grep -v Deleted", timeout=PATIENCE)
            carries(machine)
            machine.sh("systemctl restart systemd-networkd")
            machine.until("networkctl status lan0", "routable", PATIENCE)
            carries(machine)
            assert "[RULE]Deleted" not in machine.ok("cat", "/run/lab/monitored")
        finally:
            machine.sh("kill $(cat /run/lab/monitor)")


def test_network_manager_has_the_uplink(machine: Machine) -> None:
    """Disconnected and connected, cable out and in, NetworkManager itself restarted."""
    with network_manager(machine, cable=True):
        machine.until("nmcli -t -f DEVICE,STATE device", "lan0:connected", PATIENCE)
        with unchanged(machine), installed(machine):
            forget_sights(machine)
            carries(machine)
            machine.sh("nmcli device disconnect lan0", timeout=PATIENCE)
            machine.until("tunflow status --json || true", '"reasserting"', PATIENCE)
            machine.sh("nmcli device connect lan0", timeout=PATIENCE)
            carries(machine)
            cable_out_and_in(machine)
            carries(machine)
            machine.sh("systemctl restart NetworkManager", timeout=PATIENCE)
            machine.until("nmcli -t -f DEVICE,STATE device", "lan0:connected", PATIENCE)
            carries(machine)
