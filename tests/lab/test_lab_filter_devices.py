"""A gateway that tells its LAN's devices apart by their hardware addresses."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from bench.netlab.namespaces import SITE4, SITE6, Namespace, ip, nodad
from lab_system import System
from lab_uplinks import BEHIND4, LAN4, LAN6, UplinkLab
from test_lab_filter import ALLOWED, BLOCKED, curl, profile_of

pytestmark = pytest.mark.lab

TABLET = "02:00:5e:00:53:01"
OTHER4, OTHER6 = "10.63.0.3", "fd63::3"
MOVED4, MOVED6 = "10.63.0.77", "fd63::77"


@pytest.fixture(scope="module")
def tablet(uplinks: UplinkLab) -> Iterator[Namespace]:
    """A second device on the LAN, on the same wire as the first."""
    device = Namespace(f"{uplinks.id}-t", uplinks.client.env)
    ip("netns", "add", device.name)
    ip("-n", uplinks.behind.name, "link", "add", "link", "eth0", "name", "tablet", "address", TABLET, "type", "macvlan",
       "mode", "bridge")  # fmt: skip
    ip("-n", uplinks.behind.name, "link", "set", "tablet", "netns", device.name, "name", "eth0")
    ip("-n", device.name, "link", "set", "lo", "up")
    ip("-n", device.name, "link", "set", "eth0", "up")
    use(device, OTHER4, OTHER6)
    yield device
    ip("netns", "del", device.name)


def use(device: Namespace, *addresses: str) -> None:
    """Give a device these addresses and no others."""
    for version in ("-4", "-6"):
        ip("-n", device.name, version, "addr", "flush", "dev", "eth0", "scope", "global")
    for address, prefix in zip(addresses, (24, 64), strict=True):
        ip("-n", device.name, "addr", "add", f"{address}/{prefix}", "dev", "eth0", *nodad(address))
    ip("-n", device.name, "route", "replace", "default", "via", LAN4)
    ip("-n", device.name, "-6", "route", "replace", "default", "via", LAN6)


def fetched(host: Namespace, site: str, name: str) -> str:
    """`page` when the filter's page came, else how many bytes did."""
    host_of = f"[{site}]" if ":" in site else site
    text, _, _ = curl(
        host, f"http://{name}/1k", "--resolve", f"{name}:80:{host_of}", "-w", "%{http_code} %{size_download}"
    )
    return "page" if " is blocked" in text or "Blocked" in text else text.rpartition(" ")[2]


@pytest.mark.parametrize("site", [SITE4, SITE6])
def test_a_device_takes_its_rules_to_another_address(
    uplinks: UplinkLab, system: System, tablet: Namespace, site: str
) -> None:
    path = profile_of(system, 'dns_answer = "address"')
    path.write_text(path.read_text() + f'        clients = ["{TABLET.upper().replace(":", "-")}"]\n')
    system.ok("up", str(path), "--gateway", "lan0")
    use(tablet, OTHER4, OTHER6)
    assert fetched(tablet, site, BLOCKED) == "page", system.log()
    assert fetched(tablet, site, ALLOWED) == "1024"
    assert fetched(uplinks.behind, site, BLOCKED) == "1024"
    assert fetched(uplinks.client, site, BLOCKED) == "1024"  # the gateway itself is no device of the LAN
    use(tablet, MOVED4, MOVED6)
    assert fetched(tablet, site, BLOCKED) == "page", system.log()
    use(tablet, OTHER4, OTHER6)


def test_a_device_that_nobody_knows_meets_the_stricter_rule(
    uplinks: UplinkLab, system: System, tablet: Namespace
) -> None:
    """Its neighbour entry is gone and it knows the gateway's address by heart, so that it need not ask."""
    path = profile_of(system, 'dns_answer = "address"')
    path.write_text(path.read_text() + f'        clients = ["{TABLET}"]\n')
    (path.parent / "list.txt").write_text(f"{SITE4}\n")  # judged before the gateway has answered anything
    system.ok("up", str(path), "--gateway", "lan0")
    (link,) = json.loads(uplinks.client.run(["ip", "-j", "link", "show", "lan0"]).stdout)
    ip("-n", uplinks.behind.name, "neigh", "replace", LAN4, "lladdr", link["address"], "dev", "eth0")
    ip("-n", uplinks.client.name, "neigh", "flush", "dev", "lan0")
    try:
        assert fetched(uplinks.behind, SITE4, BLOCKED) == "page"
        assert fetched(uplinks.behind, SITE4, BLOCKED) == "1024"  # the page itself made it known
    finally:
        ip("-n", uplinks.behind.name, "neigh", "del", LAN4, "dev", "eth0")


def test_the_test_command_knows_devices(uplinks: UplinkLab, system: System, tablet: Namespace) -> None:
    path = profile_of(system)
    path.write_text(path.read_text() + f'        clients = ["{TABLET}"]\n')
    uplinks.behind.run(["ping", "-q", "-c", "1", "-W", "30", LAN4])
    tablet.run(["ping", "-q", "-c", "1", "-W", "30", LAN4])
    for client, verdict in ((TABLET, "blocked"), (OTHER4, "blocked"), (BEHIND4, "passes"),
                            ("02-00-5E-00-53-02", "passes"), ("10.63.0.99", "blocked")):  # fmt: skip
        said = system.ok("filter", "test", f"http://{BLOCKED}/", "--profile", str(path), "--client", client)
        assert said.startswith(verdict), (client, said)
    assert (
        "neither an address" in system.tunflow("filter", "test", "x", "--profile", str(path), "--client", "it").stderr
    )
