"""Packet VPNs with the real servers, over a wire that loses one datagram in fifty, each way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from bench.netlab.namespaces import SITE4, Lab
from bench.netlab.tunnel import TUNFLOW
from lab_support import Contents
from openvpn_peer import Keys as OpenVPNKeys
from openvpn_peer import start_openvpn
from test_lab_wireguard import run
from wireguard_peer import Keys as WireGuardKeys
from wireguard_peer import wireguard_go

pytestmark = pytest.mark.lab

Server = Callable[[Lab, Path], AbstractContextManager[str]]
LOSES = "meta l4proto udp numgen inc mod 50 == 0 drop"
WIRE = (
    f"table inet wire {{ chain in {{ type filter hook input priority 0; iifname eth0 {LOSES}; }}; "
    f"chain out {{ type filter hook output priority 0; oifname eth0 {LOSES}; }}; }}"
)


@contextmanager
def openvpn(lab: Lab, directory: Path) -> Iterator[str]:
    """New keys while the transfer lasts; what a loss costs there is a repetition.

    We begin them: a server of OpenVPN 2.6 that begins one before we have its push wraps it in a key that comes of the
    push, and does not repeat the push any more.
    """
    keys = OpenVPNKeys(directory / "openvpn")
    with start_openvpn(lab, keys, "--tls-crypt", "ta.key", "--keepalive", "10", "60"):
        yield keys.client("lossy", "tls-crypt ta.key", "tls-timeout 1", "reneg-sec 2")


@contextmanager
def wireguard(lab: Lab, directory: Path) -> Iterator[str]:
    keys = WireGuardKeys()
    with wireguard_go(lab, keys):
        yield keys.profile(directory)


@pytest.mark.parametrize("vpn", [openvpn, wireguard])
def test_every_byte_arrives(lab: Lab, contents: Contents, tmp_path: Path, vpn: Server) -> None:
    get = f"curl -sS --limit-rate 250K http://{SITE4}/1m | sha256sum"
    with vpn(lab, tmp_path) as profile:
        lab.server.run(["nft", WIRE])
        try:
            done = run(lab, [TUNFLOW, "run", "--profile", profile, "--", "sh", "-c", get])
        finally:
            lab.server.run(["nft", "delete", "table", "inet", "wire"])
    assert done.stdout.split()[:1] == [contents.million_sha256], done.stderr
