"""Packet tunnels as ways out for flows: a rule's target, a group's member, a hop of a chain, above and below others."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.netlab.namespaces import SERVER4, SITE4, Lab
from bench.netlab.peers import UDP_ECHO_PORT
from bench.netlab.tunnel import TUNFLOW, shadowsocks_url
from lab_support import Contents, Tunnel, client
from lab_uplinks import until
from test_lab_wireguard import run
from wireguard_peer import INSIDE4, INTERFACE, Keys, wireguard_go

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("tunnel")]
"""Each asks S's ss-server, its resolvers or its echo for something, which run once `tunnel` was asked for."""

DIGEST = f"curl -sS --fail http://{SITE4}/10m | sha256sum"
SIZES = ("1", "1200", "1300")
ECHO = " ".join(client("udp_sizes", SITE4, UDP_ECHO_PORT, *SIZES))


@pytest.fixture(scope="module")
def keys(lab: Lab) -> Iterator[Keys]:
    """The server runs."""
    made = Keys()
    with wireguard_go(lab, made):
        yield made


def carried(lab: Lab) -> int:
    """Bytes that the server sent into the tunnel so far."""
    shown = lab.server.run(["wg", "show", INTERFACE, "transfer"]).stdout
    return int(shown.split()[2])


@pytest.mark.parametrize("order", ["wireguard through ss", "ss inside wireguard"])
def test_a_chain(lab: Lab, tunnel: Tunnel, keys: Keys, contents: Contents, order: str) -> None:
    servers = [shadowsocks_url(), keys.link()]
    if order.startswith("ss"):
        servers.reverse()
    options = [word for server in servers for word in ("--server", server)]
    script = f"{DIGEST}; curl -sS http://site.lab/1k | wc -c; {ECHO}"
    before = carried(lab)
    command = [TUNFLOW, "run", *options, "--dns", "fake", "--", "sh", "-c", script]
    done = run(lab, command)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [contents.medium_sha256, "-", "1024", str(sum(map(int, SIZES)))], done.stderr
    assert carried(lab) - before > 10_000_000


def test_pings_go_through_the_tunnel(lab: Lab, keys: Keys) -> None:
    options = ["--server", shadowsocks_url(), "--server", keys.link()]
    ping = ["ping", "-c", "3", "-i", "0.2", "-W", "30", INSIDE4]
    done = run(lab, [TUNFLOW, "run", *options, "--", "sh", "-c", f"sleep 1; {' '.join(ping)}"])
    assert " 0% packet loss" in done.stdout, (done.stdout, done.stderr)


def profile(tmp_path: Path, text: str) -> str:
    path = tmp_path / "lab.toml"
    path.write_text(f'name = "lab"\n{text}')
    path.chmod(0o644)
    return str(path)


def test_rules_send_one_name_there_and_the_rest_elsewhere(
    lab: Lab, keys: Keys, contents: Contents, tmp_path: Path
) -> None:
    file = profile(
        tmp_path,
        f'rules = ["DOMAIN,site.lab,wg", "MATCH,ss"]\n'
        f'[servers.wg]\nurl = "{keys.link()}"\n[servers.ss]\nurl = "{shadowsocks_url()}"\n[dns]\nmode = "fake"\n',
    )
    before = carried(lab)
    command = [TUNFLOW, "run", "--profile", file, "--", "sh", "-c"]
    done = run(lab, [*command, DIGEST])
    assert done.stdout.split()[:1] == [contents.medium_sha256], done.stderr
    assert carried(lab) - before < 100_000
    done = run(lab, [*command, "curl -sS --fail http://site.lab/10m | sha256sum"])
    assert done.stdout.split()[:1] == [contents.medium_sha256], done.stderr
    assert carried(lab) - before > 10_000_000


def test_a_group_goes_on_to_its_next_member(lab: Lab, keys: Keys, contents: Contents, tmp_path: Path) -> None:
    file = profile(
        tmp_path,
        f'rules = ["MATCH,both"]\n[servers.wg]\nurl = "{keys.link(preshared=keys.client_public)}"\n'
        f'[servers.ss]\nurl = "{shadowsocks_url()}"\n'
        f'[groups.both]\ntype = "fallback"\nservers = ["wg", "ss"]\nurl = "http://site.lab/1k"\ninterval = 5\n',
    )
    script = f"for each in 1 2 3 4 5 6; do curl -sS http://{SITE4}/1k >/dev/null && break; sleep 1; done; {DIGEST}"
    started = time.monotonic()
    done = run(lab, [TUNFLOW, "run", "--profile", file, "--dns", "fake", "--", "sh", "-c", script])
    assert contents.medium_sha256 in done.stdout, (done.stdout, done.stderr)
    assert time.monotonic() - started < 40
    assert re.search("no answer from|took no|cannot reach", done.stderr), done.stderr


@pytest.fixture(scope="module")
def shadowvpn(lab: Lab) -> Iterator[str]:
    """The server runs; a client's link."""
    link = f"shadowvpn://secret@{SERVER4}:1123?net=10.7.0.{{}}/24"
    with lab.start(lab.server, [TUNFLOW, "serve", link.format(1)]) as server:
        until(lambda: "serving" in server.output(), timeout=30)
        yield link.format(2)


def carried_by_shadowvpn(lab: Lab) -> int:
    """Bytes that its server sent into the tunnel so far."""
    devices = json.loads(lab.server.run(["ip", "-j", "-s", "address"]).stdout)
    (device,) = (each for each in devices if "10.7.0.1" in {known.get("local") for known in each["addr_info"]})
    return int(device["stats64"]["tx"]["bytes"])


@pytest.mark.parametrize("order", ["shadowvpn through ss", "ss inside shadowvpn"])
def test_shadowvpn_in_a_chain(lab: Lab, tunnel: Tunnel, shadowvpn: str, contents: Contents, order: str) -> None:
    servers = [shadowsocks_url(), shadowvpn]
    if order.startswith("ss"):
        servers.reverse()
    options = [word for server in servers for word in ("--server", server)]
    before = carried_by_shadowvpn(lab)
    done = run(lab, [TUNFLOW, "run", *options, "--dns", "fake", "--", "sh", "-c", f"{DIGEST}; {ECHO}"])
    assert done.stdout.split() == [contents.medium_sha256, "-", str(sum(map(int, SIZES)))], done.stderr
    assert carried_by_shadowvpn(lab) - before > 10_000_000


def test_a_rule_sends_one_port_by_shadowvpn(lab: Lab, shadowvpn: str, contents: Contents, tmp_path: Path) -> None:
    file = profile(
        tmp_path,
        f'rules = ["DST-PORT,80,vpn", "MATCH,ss"]\n'
        f'[servers.vpn]\nurl = "{shadowvpn}"\n[servers.ss]\nurl = "{shadowsocks_url()}"\n',
    )
    command = [TUNFLOW, "run", "--profile", file, "--dns", "fake", "--", "sh", "-c"]
    before = carried_by_shadowvpn(lab)
    assert run(lab, [*command, ECHO]).stdout.split() == [str(sum(map(int, SIZES)))]
    assert carried_by_shadowvpn(lab) - before < 1000
    done = run(lab, [*command, DIGEST])
    assert done.stdout.split()[:1] == [contents.medium_sha256], done.stderr
    assert carried_by_shadowvpn(lab) - before > 10_000_000
