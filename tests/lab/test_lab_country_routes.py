"""A country's networks go around the tunnel: thousands of routes, put there in one go and taken away to the last."""

from __future__ import annotations

import lzma
import time
from ipaddress import ip_network
from pathlib import Path

import pytest
from bench.netlab.namespaces import SITE4
from lab_system import DNS, System
from lab_uplinks import UplinkLab

from tunflow.rules.delegated import parse_delegated_untrusted

pytestmark = pytest.mark.lab

APNIC = Path(__file__).parent.parent / "vectors" / "delegated-apnic-20210715.txt.xz"


@pytest.mark.alone
def test_a_countrys_networks_go_around_the_tunnel(uplinks: UplinkLab, system: System) -> None:
    """All 5,422 and 1,908 networks of China."""
    delegated = lzma.decompress(APNIC.read_bytes())
    place = system.directory / "data" / "delegated"
    place.mkdir(parents=True)
    (place / "apnic.txt").write_bytes(delegated)
    profile = system.directory / "china.toml"
    profile.write_text(f'server = "{system.url}"\n[tunnel]\nexcluded_routes = ["CN"]\n[dns]\nmode = "{DNS}"\n')
    profile.chmod(0o600)
    before = system.snapshot()
    plain = time.monotonic()
    system.ok("up", "--dns", DNS)
    plain = time.monotonic() - plain
    system.ok("down")

    began = time.monotonic()
    system.ok("up", str(profile))
    took = time.monotonic() - began
    wanted = set(parse_delegated_untrusted(delegated, ["CN"])["CN"].networks())
    listed = system.run(["sh", "-c", "ip route show table all; ip -6 route show table all"]).stdout
    words = [line.split() for line in listed.splitlines() if line.startswith(("throw ", "unreachable ")) or "/" in line]
    routes = {ip_network(word) for line in words for word in line[:2] if "/" in word}
    hosts = {ip_network(line.split()[1]) for line in listed.splitlines() if line.startswith("throw ")}
    assert wanted <= routes | hosts, sorted(map(str, wanted - routes - hosts))[:5]
    assert took < 4 * plain, (took, plain)
    with uplinks.spied() as seen:
        assert system.fetch(f"http://{SITE4}/1k") == 1024
    assert seen == []
    with uplinks.spied() as seen:
        system.run(["busybox", "nc", "-w", "1", "114.114.114.114", "80"])
    assert any("114.114.114.114" in line for line in seen)
    system.ok("down")
    assert system.snapshot() == before
