"""Who else is on a host with a tunnel: a LAN behind it, containers behind a bridge, another VPN with its own table."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
from bench.netlab.namespaces import SITE4, SITE6, Namespace, ip, nodad
from lab_support import COUNTED_DIGEST
from lab_system import System, client
from lab_uplinks import BEHIND4, BEHIND6, LAN4, LAN6, UplinkLab, until

pytestmark = pytest.mark.lab

PART = 2_000_000
"""Bytes of a download; the witnesses cannot keep up with much more."""
CONTAINER4, CONTAINER6 = "172.30.0.2", "fd30::2"
MASQUERADE = """table ip docker { chain postrouting { type nat hook postrouting priority srcnat;
 ip saddr 172.30.0.0/16 oifname != "br-lab" masquerade
}; }"""
"""Docker's own rule for IPv4 (`-s 172.17.0.0/16 ! -o docker0 -j MASQUERADE`)."""
VPN4, VPN6 = "100.88.0.0/16", "fd88::/48"


def _digest(host: Namespace, url: str) -> str:
    """SHA-256 of the first PART bytes of `url`, as that host gets them."""
    done = host.run(["sh", "-c", f"curl -sS -m 80 -r 0-{PART - 1} {url} | sha256sum"], check=False)
    return done.stdout.split()[0] + done.stderr


@pytest.fixture(scope="module")
def expected(uplinks: UplinkLab) -> str:
    with (uplinks.directory / "site" / "big").open("rb") as file:
        return hashlib.sha256(file.read(PART)).hexdigest()


@pytest.fixture
def bridge(uplinks: UplinkLab) -> Iterator[None]:
    """C's lan0 becomes the port of a bridge, and the host behind it a container, as Docker arranges them."""
    c, behind = uplinks.client, uplinks.behind
    try:
        ip("-n", c.name, "link", "add", "br-lab", "type", "bridge")
        ip("-n", c.name, "link", "set", "br-lab", "up")
        for address in ("172.30.0.1/16", "fd30::1/64"):
            ip("-n", c.name, "addr", "add", address, "dev", "br-lab", *nodad(address))
        ip("-n", c.name, "link", "set", "lan0", "master", "br-lab")
        _give(behind, (f"{CONTAINER4}/16", "172.30.0.1"), (f"{CONTAINER6}/64", "fd30::1"))
        c.run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])
        c.run(["sh", "-c", f"echo '{MASQUERADE}' | nft -f -"])
        until(lambda: "state UP" in c.run(["ip", "link", "show", "br-lab"]).stdout)
        yield
    finally:
        c.run(["nft", "delete", "table", "ip", "docker"], check=False)
        c.run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0"])
        c.run(["ip", "link", "del", "br-lab"], check=False)
        _give(behind, (f"{BEHIND4}/24", LAN4), (f"{BEHIND6}/64", LAN6))


def _give(host: Namespace, *networks: tuple[str, str]) -> None:
    """Have these addresses on eth0, and no other ones, with these gateways."""
    ip("-n", host.name, "addr", "flush", "dev", "eth0", "scope", "global")
    for address, gateway in networks:
        ip("-n", host.name, "addr", "add", address, "dev", "eth0", *nodad(address))
        ip("-n", host.name, "route", "replace", "default", "via", gateway)


@pytest.mark.parametrize("options", [(), ("--kill-switch",)], ids=["", "kill switch"])
def test_a_lan_behind_it(uplinks: UplinkLab, system: System, expected: str, options: tuple[str, ...]) -> None:
    """TCP, UDP, DNS and ping of another host, both families, through the tunnel; its own LAN untouched; put back."""
    before = system.snapshot()
    system.up("--gateway", "lan0", *options)
    lan = uplinks.behind
    with uplinks.spied() as leaks:
        for url in (f"http://{SITE4}/big", f"http://[{SITE6}]/big"):
            assert _digest(lan, url) == expected, system.log()
        assert SITE4 in lan.run(["dig", "+short", "+timeout=30", f"@{SITE4}", "site.lab"]).stdout
        for target in (LAN4, LAN6):
            lan.run(["ping", "-c1", "-W30", target])
        for target in (BEHIND4, BEHIND6):
            assert system.run(["ping", "-c1", "-W30", target]).returncode == 0
        assert system.fetch(f"http://{SITE4}/1k") == 1024
    assert leaks == []
    system.ok("down")
    assert system.snapshot() == before


@pytest.mark.parametrize("options", [(), ("--kill-switch",)], ids=["", "kill switch"])
def test_containers_behind_a_bridge(
    uplinks: UplinkLab, system: System, bridge: None, expected: str, options: tuple[str, ...]
) -> None:
    """As Docker has them, without any setting: outside through the tunnel, inside as before."""
    before = system.snapshot()
    system.up(*options)
    container = uplinks.behind
    with uplinks.spied() as leaks:
        for url in (f"http://{SITE4}/big", f"http://[{SITE6}]/big"):
            assert _digest(container, url) == expected, system.log()
        for target in (CONTAINER4, CONTAINER6):
            assert system.run(["ping", "-c1", "-W30", target]).returncode == 0
        for target in ("172.30.0.1", "fd30::1"):
            container.run(["ping", "-c1", "-W30", target])
    assert leaks == []
    system.ok("down")
    assert system.snapshot() == before


@pytest.mark.parametrize("priority", ["5000", "20000"])
def test_another_vpn_keeps_its_networks(uplinks: UplinkLab, system: System, priority: str) -> None:
    """Its rules may come before ours (Tailscale's do) or behind them (wg-quick's do)."""
    c = uplinks.client.name
    ip("-n", c, "tuntap", "add", "dev", "vpn0", "mode", "tun")
    try:
        ip("-n", c, "link", "set", "vpn0", "up")
        for version, network in (("-4", VPN4), ("-6", VPN6)):
            ip("-n", c, version, "route", "add", network, "dev", "vpn0", "table", "88")
            ip("-n", c, version, "rule", "add", "table", "88", "priority", priority)
        before = system.snapshot()
        system.up()
        for address in ("100.88.1.1", "fd88::1"):
            assert " dev vpn0 " in system.run(["ip", "route", "get", address]).stdout
        # One that it adds meanwhile is taken in too.
        ip("-n", c, "route", "add", "198.51.100.0/24", "dev", "vpn0", "table", "88")
        until(lambda: " dev vpn0 " in system.run(["ip", "route", "get", "198.51.100.1"]).stdout)
        assert system.fetch(f"http://{SITE4}/1k") == 1024
        ip("-n", c, "route", "del", "198.51.100.0/24", "dev", "vpn0", "table", "88")
        system.ok("down")
        assert system.snapshot() == before
    finally:
        for version in ("-4", "-6"):
            uplinks.client.run(["ip", version, "rule", "del", "table", "88"], check=False)
        ip("-n", c, "link", "del", "vpn0")


def test_strict_reverse_path_filtering(uplinks: UplinkLab, system: System) -> None:
    """The server's answers come in by an interface that without the mark is not the way to it (RFC 3704 §2.2)."""
    system.run(["sysctl", "-q", "-w", "net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.eth1.rp_filter=1"])
    try:
        before = system.snapshot()
        system.up("--kill-switch")
        assert system.fetch(f"http://{SITE4}/1k") == 1024
        system.ok("down")
        assert system.snapshot() == before
    finally:
        system.run(["sysctl", "-q", "-w", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.eth1.rp_filter=0"])


@pytest.mark.parametrize("target", [SITE4, SITE6])
def test_a_lan_whose_packets_are_small_and_complete(uplinks: UplinkLab, system: System, target: str) -> None:
    """As a network card without offload delivers them: nothing says "partial checksum" or "super-segment"."""
    lan = uplinks.behind
    lan.run(client("offload", "eth0", "off"))
    try:
        system.up("--gateway", "lan0")
        assert lan.run(client("upload", target, COUNTED_DIGEST, 5 * PART)).stdout == "ok\n"
        assert lan.run(["ping", "-c1", "-W30", "-s", "1400", target]).returncode == 0
    finally:
        lan.run(client("offload", "eth0", "on"))


def test_rules_that_somebody_removes_come_back(uplinks: UplinkLab, system: System) -> None:
    system.up()
    before = system.snapshot()
    for version in ("-4", "-6"):
        system.run(["sh", "-c", f"for p in $(seq 7400 7410); do while ip {version} rule del pref $p; do :; done; done"])
    until(lambda: system.snapshot() == before)


@pytest.fixture
def default_elsewhere(uplinks: UplinkLab) -> Iterator[None]:
    """No default route in the main table: it is in one of its own, behind a rule."""
    c = uplinks.client.name
    for version, gateway in (("-4", "10.61.0.254"), ("-6", "fd61::fe")):
        ip("-n", c, version, "route", "del", "default")
        ip("-n", c, version, "route", "add", "default", "via", gateway, "table", "100")
        ip("-n", c, version, "rule", "add", "table", "100", "pref", "20000")
    yield
    for version in ("-4", "-6"):
        ip("-n", c, version, "rule", "del", "table", "100", "pref", "20000")
        ip("-n", c, version, "route", "flush", "table", "100")
    uplinks.reset_uplinks()


@pytest.mark.usefixtures("default_elsewhere")
def test_a_default_route_in_another_table_is_the_way_out(uplinks: UplinkLab, system: System) -> None:
    before = system.snapshot()
    system.up("--kill-switch")
    with uplinks.spied() as leaks:
        for site in (SITE4, f"[{SITE6}]"):
            assert system.fetch(f"http://{site}/1k") == 1024
        assert "eth1" in system.status()["path"]
    assert leaks == []
    system.ok("down")
    assert system.snapshot() == before
