"""A poisoned network made usable: names resolve rightly behind a wall that injects answers, domestic ones at home.

On S: a domestic resolver (dnsmasq) that is near, knows domestic names, and has wrong addresses for walled ones; a
foreign one (unbound) behind `wall.py`, which has other addresses for domestic names; and the proxy server, which the
wall lets through. So a right address is also one from the right side.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.netlab.namespaces import CLIENT4, SERVER4, SERVER6, SITE4, Lab
from bench.netlab.peers import (
    start_dns,
    start_nginx,
    start_shadowsocks_server,
    start_unbound,
    wait_reachable,
    wait_ready,
)
from bench.netlab.processes import Process
from bench.netlab.site import Site
from bench.netlab.tunnel import TUNFLOW, shadowsocks_url
from lab_spy import TO_SHADOWSOCKS, Spy
from lab_support import client

pytestmark = pytest.mark.lab

HOME, ABROAD, REAL_PORT = "10.80.0.53", "10.81.0.53", 5300
OTHER, OTHER_PORT = "10.82.0.53", 5301
"""A dnsmasq behind the wall: it takes names that end with a pointer, which unbound does not."""
COUNT = 500
DOMESTIC = {f"d{number}.home.lab": (f"1.0.{number // 250}.{number % 250 + 1}", "1.0.9.9") for number in range(COUNT)}
WALLED = {
    f"w{number}.wall.lab": (f"203.0.{number // 250}.{number % 250 + 1}", *(["203.0.9.9"] if number % 2 else []))
    for number in range(COUNT)
}
ALLOWED = f"({TO_SHADOWSOCKS} or (udp port 53 and host {HOME}) or src host {SERVER4} or src host {SERVER6})"
"""What may pass C's link: the tunnel, and queries to the domestic resolver. What comes from S is not C's."""
POISON = ("243.185.187.39", "46.82.174.68", "78.16.49.15", "93.46.8.89", "37.61.54.158", "59.24.3.173")
"""Of the addresses that ChinaDNS's list of wrong answers holds."""


class Wall:
    """The poisoned network, with a tunnel whose profile a test writes."""

    def __init__(self, lab: Lab, home: Process) -> None:
        self.lab = lab
        self.home = home
        self._profiles = 0

    def list(self, name: str, lines: object) -> Path:
        """A list beside the profiles."""
        path = self.lab.directory / name
        path.write_text("".join(f"{line}\n" for line in lines))  # type: ignore[attr-defined]
        return path

    def profile(self, dns: str) -> list[str]:
        """The options for a profile with this `[dns]` table."""
        self._profiles += 1
        path = self.lab.directory / f"wall{self._profiles}.toml"
        path.write_text(f'server = ["{shadowsocks_url()}"]\n{RULES}\n[dns]\n{dns}\n')
        path.chmod(0o600)
        return ["--profile", str(path)]

    def run(self, dns: str, command: list[str], text: str = "") -> str:
        """What a command prints inside a tunnel."""
        done = subprocess.run(
            self.lab.client.command([TUNFLOW, "run", *self.profile(dns), "--", *command]),
            input=text,
            capture_output=True,
            text=True,
            timeout=90,
            env=self.lab.client.env,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def resolve(self, dns: str, names: list[str]) -> dict[str, set[str]]:
        """What each name resolves to inside a tunnel."""
        told = self.run(dns, client("resolve", "198.18.0.2", 50), "\n".join(names))
        return {name: set(found) for name, *found in map(str.split, told.splitlines())}

    def spy(self) -> Spy:
        """Watches C's link once every resolver has said what it owes: one more query overtakes nothing, and an answer
        to a closed socket is an ICMP error of C's kernel."""
        for resolver in (HOME, ABROAD, OTHER):
            assert self.lab.client.run(["dig", "+short", f"@{resolver}", "d0.home.lab"]).stdout.strip()
        return Spy(self.lab, ALLOWED)


RULES = 'rules = ["IP-CIDR,1.0.0.0/16,DIRECT", "MATCH,PROXY"]'
NEAR, FAR = "near.home.lab", "far.wall.lab"
SITES = {NEAR: ("1.0.200.1",), FAR: ("203.0.113.80",)}
"""Names with a web server behind them."""


@pytest.fixture(scope="module")
def wall(_available: None) -> Iterator[Wall]:
    with Lab() as lab:
        for address in (HOME, ABROAD, OTHER, *(found[0] for found in SITES.values())):
            lab.server.run(["ip", "addr", "add", f"{address}/32", "dev", "lo"])
        records = [f"host-record={name},{address}" for name, found in DOMESTIC.items() for address in found]
        records += [f"host-record={NEAR},{SITES[NEAR][0]}"]
        wrong = [f"address=/wall.lab/{POISON[0]}", "local-ttl=60"]
        home = start_dns(lab, [HOME], {}, {}, [*records, *wrong])
        truth = (
            WALLED | {"far.wall.lab": SITES["far.wall.lab"]} | dict.fromkeys(DOMESTIC, ("198.51.100.7", "198.51.100.8"))
        )
        start_unbound(lab, [f"127.0.0.1@{REAL_PORT}"], truth)
        records = [f"host-record={name},{address}" for name, found in truth.items() for address in found]
        start_dns(lab, ["127.0.0.1"], {}, {}, [f"port={OTHER_PORT}", *records]).wait_listening(OTHER_PORT)
        script = [sys.executable, str(Path(__file__).parent / "wall.py")]
        for address, port in ((ABROAD, REAL_PORT), (OTHER, OTHER_PORT)):
            wait_ready(lab.start(lab.server, [*script, address, str(port), CLIENT4, "wall", *POISON]))
        start_dns(lab, [SITE4], {FAR: SITES[FAR]}, {})  # the one that the proxy server asks
        start_shadowsocks_server(lab)
        site = Site(lab.directory / "site")
        site.add_file("1k", 1024)
        start_nginx(lab, site.root)
        wait_reachable(lab)
        made = Wall(lab, home)
        made.list("cn.txt", ["1.0.0.0/16", "10.80.0.0/16"])
        made.list("poison.txt", POISON)
        yield made


def expect(found: dict[str, set[str]], truth: dict[str, tuple[str, ...]]) -> None:
    wrong = {name: addresses for name, addresses in found.items() if addresses != set(truth[name])}
    assert not wrong, dict(list(wrong.items())[:5])
    assert len(found) == len(truth)


def test_the_wall_poisons_who_asks_plainly(wall: Wall) -> None:
    """The wall itself: a test that cannot fail proves nothing."""
    found = wall.resolve(f'servers = ["{ABROAD}#direct"]', list(WALLED)[:20])
    assert all(addresses & set(POISON) for addresses in found.values())


def test_the_refined_table_resolves_a_thousand_names(wall: Wall) -> None:
    dns = f'domestic = ["{HOME}"]\nforeign = ["{ABROAD}"]\n[dns.chinadns]\ncountry_networks = "cn.txt"'
    with wall.spy() as watching:
        found = wall.resolve(dns, [*DOMESTIC, *WALLED])
    expect(found, DOMESTIC | WALLED)
    assert watching.packets == []


def test_with_lists_a_name_is_seen_on_its_own_side_only(wall: Wall) -> None:
    wall.list("home-names.txt", ["# domestic", "server=/home.lab/114.114.114.114"])
    wall.list("wall-names.txt", ["wall.lab"])
    dns = (
        f'domestic = ["{HOME}"]\nforeign = ["udp://{ABROAD}"]\n[dns.chinadns]\ncountry_networks = "cn.txt"\n'
        'domestic_names = "home-names.txt"\nforeign_names = "wall-names.txt"'
    )
    names = [*list(DOMESTIC)[:50], *list(WALLED)[:50]]
    with wall.spy() as watching:
        before = wall.home.output()
        found = wall.resolve(dns, names)
    expect(found, {name: (DOMESTIC | WALLED)[name] for name in names})
    assert watching.packets == []
    asked = wall.home.output().removeprefix(before).lower()
    assert asked.count("query[a] d") == 50
    assert "wall.lab" not in asked


@pytest.mark.parametrize(("abroad", "more"), [(ABROAD, 'blacklist = "poison.txt"'), (OTHER, "mutation = true")])
def test_the_original_table_sees_through_what_is_injected(wall: Wall, abroad: str, more: str) -> None:
    """Without a tunnel for names at all: the foreign resolver is asked in plain sight of the injector."""
    dns = (
        f'domestic = ["{HOME}"]\nforeign = ["{abroad}#direct"]\n'
        f'[dns.chinadns]\ntable = "original"\ncountry_networks = "cn.txt"\n{more}'
    )
    home, walled = list(DOMESTIC)[:100], list(WALLED)[:100]
    found = wall.resolve(dns, [*home, *walled])
    expect({name: found[name] for name in walled}, {name: WALLED[name] for name in walled})
    # The table leaves it to a race who answers a domestic name, and the near resolver mostly wins it.
    assert sum(found[name] == set(DOMESTIC[name]) for name in home) > 80
    assert not set(POISON) & set().union(*found.values())


@pytest.mark.parametrize("mode", ["tcp", "fake"])
def test_one_profile_makes_the_network_usable(wall: Wall, mode: str) -> None:
    """Domestic sites are visited straight, from C's own address, and all others through the server."""
    dns = (
        f'mode = "{mode}"\ndomestic = ["{HOME}"]\nforeign = ["{ABROAD}"]\n'
        '[dns.chinadns]\ncountry_networks = "cn.txt"\nblacklist = "poison.txt"'
    )
    fetch = f"for name in {NEAR} {FAR}; do curl -sS -4 -o /dev/null -w '%{{http_code}} ' http://$name/1k; done"
    with wall.spy() as watching:
        assert wall.run(dns, ["sh", "-c", fetch]) == "200 200 "
    assert watching.packets
    assert all("1.0.200.1.80:" in line for line in watching.packets), watching.packets


def test_explain_tells_which_answer_won(wall: Wall) -> None:
    dns = f'domestic = ["{HOME}"]\nforeign = ["{ABROAD}"]\n[dns.chinadns]\ncountry_networks = "cn.txt"'
    told = wall.lab.client.run([TUNFLOW, "explain", FAR, *wall.profile(dns)]).stdout
    assert f"answer   udp://{HOME}: dropped: its first address is outside the country" in told
    assert f"answer   udp://{ABROAD}: taken: the domestic reply was not taken" in told
    told = wall.lab.client.run([TUNFLOW, "explain", NEAR, *wall.profile(dns)]).stdout
    assert f"answer   udp://{HOME}: taken: its first address is inside the country" in told
    assert "server   DIRECT" in told


def test_encrypted_dns_is_kept_out(wall: Wall) -> None:
    """Refused at once, so that a client comes to port 53; without the key it is carried like anything else."""
    site = SITES[FAR][0]
    script = f"busybox nc -w 5 {site} 853 </dev/null; echo $?; dig +short +tries=1 use-application-dns.net"
    for kept_out, expected in (("true", ["1"]), ("false", ["0"])):
        dns = f'servers = ["tcp://{SITE4}"]\nblock_encrypted = {kept_out}'
        assert wall.run(dns, ["sh", "-c", script]).split() == expected
