"""A middlebox that drops a UDP flow without a word: noticed within 30 s, told, and left by another port."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest
from bench.netlab.namespaces import SERVER4, SITE4
from bench.netlab.tunnel import TUNFLOW, shadowsocks_url
from lab_system import DNS, System
from lab_uplinks import UplinkLab, until
from openvpn_peer import Keys as OpenVPNKeys
from openvpn_peer import start_openvpn
from wireguard_peer import Keys as WireGuardKeys
from wireguard_peer import wireguard_go

pytestmark = pytest.mark.lab

PORTS = {"shadowvpn": 1123, "openvpn": 1194, "wireguard": 51820}


@contextmanager
def shadowvpn(uplinks: UplinkLab, _directory: Path) -> Iterator[list[str]]:
    link = f"shadowvpn://secret@{SERVER4}:{PORTS['shadowvpn']}?net=10.7.0.{{}}/24"
    with uplinks.start(uplinks.server, [TUNFLOW, "serve", link.format(1)]) as server:
        until(lambda: "serving" in server.output())
        yield ["--server", link.format(2)]


@contextmanager
def openvpn(uplinks: UplinkLab, directory: Path) -> Iterator[list[str]]:
    """It would give up after two minutes only, as many servers are set."""
    keys = OpenVPNKeys(directory / "openvpn")
    with start_openvpn(uplinks, keys, "--tls-crypt", "ta.key", "--keepalive", "20", "120"):
        yield [keys.client("silent", "tls-crypt ta.key")]


@contextmanager
def wireguard(uplinks: UplinkLab, directory: Path) -> Iterator[list[str]]:
    keys = WireGuardKeys()
    with wireguard_go(uplinks, keys):
        yield [keys.profile(directory)]


SERVERS = {"shadowvpn": shadowvpn, "openvpn": openvpn, "wireguard": wireguard}


def source_ports(system: System, port: int) -> set[str]:
    """The ports of C that talk to the server's."""
    lines = system.run(["ss", "-Hun", "dport", "=", f":{port}"]).stdout.splitlines()
    return {line.split()[-2].rpartition(":")[2] for line in lines}


class Middlebox:
    """Drops what goes to the server's port, and what comes from it, of one port of C's or of all."""

    def __init__(self, uplinks: UplinkLab, port: int) -> None:
        self.server = uplinks.server
        self.port = port

    def drop(self, source: str) -> None:
        to, back = (f"udp sport {source}", f"udp dport {source}") if source else ("", "")
        chains = (
            f"chain in {{ type filter hook input priority 0; udp dport {self.port} {to} drop; }}; "
            f"chain out {{ type filter hook output priority 0; udp sport {self.port} {back} drop; }};"
        )
        self.close()
        self.server.run(["nft", f"table inet middlebox {{ {chains} }}"])

    def close(self) -> None:
        self.server.run(["nft", "delete", "table", "inet", "middlebox"], check=False)


@pytest.mark.parametrize("protocol", SERVERS)
def test_a_flow_that_is_dropped_is_left(uplinks: UplinkLab, system: System, tmp_path: Path, protocol: str) -> None:
    port = PORTS[protocol]
    with SERVERS[protocol](uplinks, tmp_path) as arguments:
        system.ok("up", *arguments, TUNFLOW_SERVER="")
        assert system.fetch(f"http://{SITE4}/1k") == 1024, system.log()
        (before,) = source_ports(system, port)
        middlebox = Middlebox(uplinks, port)
        began = time.time()
        try:
            middlebox.drop("")  # nothing gets through at first, so that the status can be seen
            with uplinks.start(uplinks.client, ["ping", "-i", "0.5", SITE4]):
                until(lambda: system.facts()["troubles"], timeout=120)
                (trouble,) = system.status()["troubles"]
                assert datetime.fromisoformat(trouble["since"]).timestamp() - began < 35
                assert SERVER4 in trouble["what"]
                assert system.tunflow("status").returncode == 1
                middlebox.drop(before)
                until(lambda: system.fetch(f"http://{SITE4}/1k", timeout=5) == 1024, timeout=120)
                until(lambda: system.facts()["troubles"] == [])
                assert "another port" in system.log()
        finally:
            middlebox.close()
        assert before not in source_ports(system, port)
        assert system.tunflow("status").returncode == 0
        system.ok("down")


def test_a_group_leaves_a_flow_that_is_dropped_for_its_next_member_and_comes_back(
    uplinks: UplinkLab, system: System, tmp_path: Path
) -> None:
    """The trouble of mobile networks: a VPN over UDP works, and is silently dropped; Shadowsocks over TCP is not."""
    port = PORTS["shadowvpn"]
    profile = system.directory / "both.toml"

    def uses() -> str:
        (group,) = json.loads(system.ok("groups", "--json"))
        return str(group["now"])

    def fetched() -> bool:
        return system.fetch(f"http://{SITE4}/1k", timeout=5) == 1024

    def silent_since() -> float:
        said = (each for each in system.status()["troubles"] if "nothing heard from shadowvpn" in each["what"])
        return next((datetime.fromisoformat(each["since"]).timestamp() for each in said), 0.0)

    with shadowvpn(uplinks, tmp_path) as (_, link):
        profile.write_text(f"""
            rules = ["MATCH,both"]
            [servers]
            vpn.url = "{link}"
            ss.url = "{shadowsocks_url()}"
            [groups]
            both = {{ type = "fallback", servers = ["vpn", "ss"], url = "http://{SITE4}/1k", interval = 5 }}
            [dns]
            mode = "{DNS}"
        """)
        profile.chmod(0o600)
        system.ok("up", str(profile), TUNFLOW_SERVER="")
        until(fetched)
        assert uses() == "vpn", system.log()
        (before,) = source_ports(system, port)
        middlebox = Middlebox(uplinks, port)
        began = time.time()
        try:
            middlebox.drop("")  # nothing gets through at first, so that the status can be seen
            until(lambda: fetched() and uses() == "ss", timeout=60)
            until(lambda: fetched() and silent_since(), timeout=60)
            assert silent_since() - began < 35
            assert fetched()  # all the time by the other
            told = system.tunflow("status")
            assert (told.returncode, "its groups use others meanwhile" in told.stdout) == (0, True), told
            middlebox.drop(before)
            until(lambda: uses() == "vpn" and not system.facts()["troubles"], timeout=60)
            assert fetched()
        finally:
            middlebox.close()
        assert before not in source_ports(system, port)
        assert "another port" in system.log()
        system.ok("down")
