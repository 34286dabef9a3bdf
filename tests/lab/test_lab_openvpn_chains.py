"""OpenVPN in a chain, over UDP and TCP: Shadowsocks inside of it, and it through Shadowsocks."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.netlab.namespaces import SITE4, Lab
from bench.netlab.peers import UDP_ECHO_PORT
from bench.netlab.tunnel import TUNFLOW, shadowsocks_url
from lab_support import Contents, Tunnel, client
from openvpn_peer import Keys, start_openvpn
from test_lab_wireguard import run

from tunflow.protocols.registry import server_of_file

pytestmark = pytest.mark.lab

SIZES = ("1", "1200")


@pytest.mark.parametrize("order", ["ss inside openvpn", "openvpn through ss"])
@pytest.mark.parametrize("proto", ["udp", "tcp"])
def test_a_chain(lab: Lab, tunnel: Tunnel, contents: Contents, order: str, proto: str) -> None:
    folder = lab.directory / "openvpn-chains"
    keys = Keys(folder) if not folder.exists() else _Again(folder)
    with start_openvpn(lab, keys, "--push", f"dhcp-option DNS {SITE4}", proto=proto):
        file = Path(keys.client("chain", proto=proto))
        server = server_of_file(file.read_bytes(), file.name, lambda name: (file.parent / name).read_bytes())
        assert server is not None
        servers = [server.to_link(), shadowsocks_url()]
        if order.startswith("openvpn"):
            servers.reverse()
        options = [word for each in servers for word in ("--server", each)]
        echo = " ".join(client("udp_sizes", SITE4, UDP_ECHO_PORT, *SIZES))
        script = f"curl -sS --fail http://site.lab/10m | sha256sum; {echo}"
        done = run(lab, [TUNFLOW, "run", *options, "--dns", "fake", "--", "sh", "-c", script])
        assert done.stdout.split() == [contents.medium_sha256, "-", str(sum(map(int, SIZES)))], done.stderr


class _Again(Keys):
    """The same keys."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
