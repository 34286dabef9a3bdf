"""`tunflow serve` of Trojan, VLESS, VMess and Shadowsocks with users: Xray's core is the client, and tunflow itself."""

from __future__ import annotations

import ssl
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import quote

import pytest
from bench.netlab.namespaces import SERVER4, SITE4
from bench.netlab.peers import UDP_ECHO_PORT
from bench.netlab.processes import Process
from bench.netlab.proxy_peers import make_certificate, start_xray, xray_stream_client
from lab_support import COUNTED_DIGEST, Contents, Tunnel, client

pytestmark = pytest.mark.lab

USER = "01234567-89ab-cdef-0123-456789abcdef"
METHOD = "2022-blake3-aes-256-gcm"
LEAD, KEY = b64encode(bytes(32)).decode(), b64encode(bytes(31) + b"\x01").decode()
SERVED = {
    "trojan": (8560, "trojan://secret@{where}?security=tls"),
    "vless": (8561, "vless://" + USER + "@{where}?security=tls&type=ws&path=/way"),
    "plain vless": (8562, "vless://" + USER + "@{where}"),
    "vmess": (8564, "vmess://" + USER + "@{where}"),
    "shadowsocks": (8563, f"ss://{METHOD}:{quote(LEAD, safe='')}@" + "{where}"),
}
XRAY_PORTS = {"trojan": 8570, "vless": 8571, "plain vless": 8572, "vmess": 8573}
SIZES = ("1", "100", "1200")


class Served(NamedTuple):
    """The links that lead to the servers, and tunflow's own of them."""

    links: dict[str, str]
    servers: dict[str, Process]


@pytest.fixture(scope="module")
def served(tunnel: Tunnel) -> Iterator[Served]:
    """The servers run, each with a client of Xray's before it but the last."""
    lab = tunnel.lab
    certificate, key = make_certificate(lab)
    der = ssl.PEM_cert_to_DER_cert(certificate.read_text())
    users = lab.directory / "users"
    users.write_text(f"# one\nme {KEY}\n")
    links, servers = {}, {}
    with ExitStack() as stack:
        for name, (port, shape) in SERVED.items():
            link = shape.format(where=f"{SERVER4}:{port}")
            argv = [sys.executable, "-m", "tunflow", "serve", link, "--allow-local"]
            argv += ["--certificate", str(certificate), "--key", str(key)] if "tls" in link else []
            argv += ["--users", str(users)] if name == "shadowsocks" else []
            servers[name] = stack.enter_context(lab.start(lab.server, argv))
            links[name] = link + (f"&pcs={sha256(der).hexdigest()}" if "tls" in link else "")
        links["shadowsocks"] = links["shadowsocks"].replace("@", quote(f":{KEY}", safe="") + "@")
        for name, port in XRAY_PORTS.items():
            protocol = name.split()[-1]
            secret = "secret" if name == "trojan" else USER
            configuration = xray_stream_client(
                port,
                SERVED[name][0],
                protocol,
                secret,
                network="ws" if name == "vless" else "tcp",
                pin=None if name in {"plain vless", "vmess"} else sha256(der).hexdigest(),
            )
            stack.enter_context(start_xray(lab, f"client-{port}", configuration))
            links[f"xray {name}"] = f"socks5://{SERVER4}:{port}"
        for name, server in servers.items():
            server.wait_listening(SERVED[name][0])
        yield Served(links, servers)


@pytest.mark.parametrize("name", [*SERVED, *(f"xray {name}" for name in XRAY_PORTS)])
def test_tcp_and_udp(tunnel: Tunnel, contents: Contents, served: Served, name: str) -> None:
    echo = " ".join(client("udp_sizes", SITE4, UDP_ECHO_PORT, *SIZES))
    script = f"curl -sS --fail http://{SITE4}/10m | sha256sum; curl -sS --fail http://site.lab/1k | wc -c; {echo}"
    digest, _, size, echoed = tunnel.ok(["sh", "-c", script], server=served.links[name]).split()
    assert (digest, size, echoed) == (contents.medium_sha256, "1024", str(sum(map(int, SIZES))))


@pytest.mark.parametrize("name", ["trojan", "plain vless", "vmess"])
def test_half_close(tunnel: Tunnel, served: Served, name: str) -> None:
    assert tunnel.ok(client("upload", SITE4, COUNTED_DIGEST, 3_000_000), server=served.links[name]) == "ok\n"


def test_who_is_none_of_the_users_is_told_of(tunnel: Tunnel, served: Served) -> None:
    wrong = {"trojan": ("secret", "other"), "plain vless": ("01234567", "11111111"), "vmess": ("01234567", "11111111")}
    ask = ["curl", "-sS", "-m", "30", f"http://{SITE4}/1k"]
    with ExitStack() as stack:
        asking = [
            stack.enter_context(tunnel.start(ask, server=served.links[name].replace(*words)))
            for name, words in wrong.items()
        ]
        deadline = time.monotonic() + 25
        while not all("; kept in silence" in served.servers[name].output() for name in wrong):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert all(each.popen.poll() is None for each in asking)  # they wait for an answer
