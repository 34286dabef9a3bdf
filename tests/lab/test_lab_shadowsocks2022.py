"""Shadowsocks 2022 with Xray's core on the other side: as the server, and as the client of `tunflow serve`."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from bench.netlab.namespaces import SERVER4, SITE4
from bench.netlab.peers import UDP_ECHO_PORT
from bench.netlab.proxy_peers import XRAY_PORT, start_xray, xray_client, xray_inbound, xray_server
from bench.netlab.tunnel import start_tunflow_server
from lab_support import Contents, Tunnel, client

pytestmark = pytest.mark.lab

METHODS = ["2022-blake3-aes-128-gcm", "2022-blake3-aes-256-gcm", "2022-blake3-chacha20-poly1305"]
SERVE_PORT = 8410
SOCKS_PORT = 8420


def key(method: str, first: int) -> str:
    size = 16 if "128" in method else 32
    return b64encode(bytes(range(first, first + size))).decode()


def link(method: str, password: str, port: int) -> str:
    return f"ss://{method}:{quote(password, safe='')}@{SERVER4}:{port}"


MANY_USERS = XRAY_PORT + len(METHODS)
LINKS = {
    **{method: link(method, key(method, 1), XRAY_PORT + index) for index, method in enumerate(METHODS)},
    "identity header": link(METHODS[0], f"{key(METHODS[0], 1)}:{key(METHODS[0], 100)}", MANY_USERS),
}


@pytest.fixture(scope="module")
def xray(tunnel: Tunnel) -> Iterator[None]:
    inbounds = [xray_inbound(XRAY_PORT + index, method, key(method, 1)) for index, method in enumerate(METHODS)]
    users = (key(METHODS[0], 50), key(METHODS[0], 100))
    inbounds.append(xray_inbound(MANY_USERS, METHODS[0], key(METHODS[0], 1), users))
    with start_xray(tunnel.lab, "server", xray_server(inbounds)):
        yield


@pytest.mark.parametrize("name", LINKS)
def test_tcp(tunnel: Tunnel, contents: Contents, xray: None, name: str) -> None:
    script = f"curl -sS --fail http://{SITE4}/10m | sha256sum; curl -sS --fail http://site.lab/1k | wc -c"
    digest, _, size = tunnel.ok(["sh", "-c", script], server=LINKS[name]).split()
    assert (digest, size) == (contents.medium_sha256, "1024")


@pytest.mark.parametrize("name", LINKS)
def test_udp(tunnel: Tunnel, xray: None, name: str) -> None:
    for size in (1, 1300):
        assert tunnel.ok(client("udp", UDP_ECHO_PORT, size, SITE4), server=LINKS[name]) == "ok\n"


def test_a_wrong_key_is_told_of(tunnel: Tunnel, xray: None) -> None:
    server = link(METHODS[0], key(METHODS[0], 99), XRAY_PORT)
    done = tunnel.run(["curl", "-sS", "-m", "30", f"http://{SITE4}/1k"], server=server)
    assert done.returncode
    assert "check the password" in done.stderr.decode()


@pytest.mark.parametrize("method", METHODS)
def test_our_server_with_its_client(tunnel: Tunnel, contents: Contents, method: str) -> None:
    """SOCKS5 to Xray, whose way out is `tunflow serve`: TCP and UDP."""
    lab = tunnel.lab
    with (
        start_tunflow_server(lab, link(method, key(method, 7), SERVE_PORT), SERVE_PORT),
        start_xray(lab, f"client-{method}", xray_client(SOCKS_PORT, SERVE_PORT, method, key(method, 7))),
    ):
        server = f"socks5://{SERVER4}:{SOCKS_PORT}"
        script = f"curl -sS --fail http://{SITE4}/10m | sha256sum"
        assert tunnel.ok(["sh", "-c", script], server=server).split()[0] == contents.medium_sha256
        assert tunnel.ok(client("udp", UDP_ECHO_PORT, 1200, SITE4), server=server) == "ok\n"
