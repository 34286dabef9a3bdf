"""UDP over TCP inside Shadowsocks: Xray's core is the Shadowsocks server, and leads such streams to their far end."""

from __future__ import annotations

import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from bench.netlab.namespaces import SERVER4, SITE4, SITE6
from bench.netlab.peers import SCRIPTS, UDP_ECHO_PORT
from bench.netlab.proxy_peers import start_xray, xray_inbound, xray_server
from lab_support import Contents, Tunnel, client

pytestmark = pytest.mark.lab

PORT = 8480
FAR_ENDS = {1: 8481, 2: 8482}
NAMES = {1: "sp.udp-over-tcp.arpa", 2: "sp.v2.udp-over-tcp.arpa"}
METHOD, KEY = "2022-blake3-aes-128-gcm", b64encode(bytes(16)).decode()
SIZES = ("1", "1200", "2000")


@pytest.fixture(scope="module", autouse=True)
def servers(tunnel: Tunnel) -> Iterator[None]:
    lab = tunnel.lab
    configuration = xray_server([xray_inbound(PORT, METHOD, KEY)])
    configuration["outbounds"] += [
        {"tag": f"v{version}", "protocol": "freedom", "settings": {"redirect": f"127.0.0.1:{port}"}}
        for version, port in FAR_ENDS.items()
    ]
    for outbound in configuration["outbounds"][1:]:
        outbound["settings"]["finalRules"] = [{"action": "allow"}]
    configuration["routing"] = {
        "rules": [{"domain": [f"full:{NAMES[version]}"], "outboundTag": f"v{version}"} for version in FAR_ENDS]
    }
    with ExitStack() as stack:
        for version, port in FAR_ENDS.items():
            command = [sys.executable, str(SCRIPTS / "uot_server.py"), str(version), str(port)]
            stack.enter_context(lab.start(lab.server, command)).wait_listening(port)
        stack.enter_context(start_xray(lab, "udp-over-tcp", configuration))
        yield


@pytest.mark.parametrize("version", FAR_ENDS)
def test_datagrams_and_streams(tunnel: Tunnel, contents: Contents, version: int) -> None:
    server = f"ss://{METHOD}:{KEY.replace('=', '%3D')}@{SERVER4}:{PORT}"
    server += f"?udp-over-tcp=true&udp-over-tcp-version={version}"
    echo = " ".join(client("udp_sizes", SITE4, UDP_ECHO_PORT, *SIZES))
    others = " ".join(client("udp", UDP_ECHO_PORT, 500, SITE4, SITE6))
    script = f"dig +short +notcp @{SITE4} site.lab; {echo}; {others}; curl -sS http://{SITE4}/10m | sha256sum"
    done = tunnel.ok(["sh", "-c", script], server=server, options=["--stats"])
    assert done.split() == [SITE4, str(sum(map(int, SIZES))), "ok", contents.medium_sha256, "-"]
