"""`tunflow up` through a server that listens by UDP alone: it is not asked for a TCP connection before."""

from __future__ import annotations

import pytest
from bench.netlab.namespaces import SERVER4, SITE4
from bench.netlab.proxy_peers import make_certificate, start_sing_box
from lab_system import System
from lab_uplinks import UplinkLab

pytestmark = pytest.mark.lab

PORT = 8468


def test_up_through_hysteria2(uplinks: UplinkLab, system: System) -> None:
    certificate, key = make_certificate(uplinks)
    inbound = {
        "type": "hysteria2",
        "listen": "::",
        "listen_port": PORT,
        "users": [{"password": "p"}],
        "tls": {"enabled": True, "certificate_path": str(certificate), "key_path": str(key)},
    }
    with start_sing_box(uplinks, "up", [inbound]):
        link = f"hysteria2://p@{SERVER4}:{PORT}/?insecure=1"
        system.ok("up", "--dns", f"tcp://{SITE4}:53", TUNFLOW_SERVER=link)
        assert system.fetch(f"http://{SITE4}/1k", timeout=15.0) == 1024, system.log()
        system.ok("down")
