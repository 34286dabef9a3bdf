"""A middlebox that drops a UDP flow without a word: noticed within 30 s, told, and left by another port."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bench.netlab.namespaces import SERVER4, SITE4
from bench.netlab.tunnel import TUNFLOW
from lab_system import System
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
        began = time.monotonic()
        try:
            middlebox.drop("")  # nothing gets through at first, so that the status can be seen
            with uplinks.start(uplinks.client, ["ping", "-i", "0.5", SITE4]):
                until(lambda: system.status()["troubles"], timeout=40)
                assert time.monotonic() - began < 35
                (trouble,) = system.status()["troubles"]
                assert SERVER4 in trouble["what"]
                assert system.tunflow("status").returncode == 1
                middlebox.drop(before)
                until(lambda: system.fetch(f"http://{SITE4}/1k", timeout=1) == 1024, timeout=45)
                until(lambda: system.status()["troubles"] == [], timeout=10)
                assert "another port" in system.log()
        finally:
            middlebox.close()
        assert before not in source_ports(system, port)
        assert system.tunflow("status").returncode == 0
        system.ok("down")
