"""Trojan, VLESS and VMess against Xray's core, over each transport, with and without TLS."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from hashlib import sha256

import pytest
from bench.netlab.namespaces import SERVER4, SITE4
from bench.netlab.peers import UDP_ECHO_PORT
from bench.netlab.proxy_peers import make_certificate, start_xray, xray_server, xray_stream_inbound
from lab_support import Contents, Tunnel, client

pytestmark = pytest.mark.lab

FIRST_PORT = 8430
USERS = {"trojan": "lab password", "vless": "01234567-89ab-cdef-0123-456789abcdef"}
USERS["vmess"] = USERS["vless"]
WAYS = [
    (protocol, network, security)
    for protocol in USERS
    for network in ("tcp", "ws", "httpupgrade")
    for security in ("none", "tls")
]


def link(way: tuple[str, str, str], user: str | None = None, more: str = "") -> str:
    protocol, network, security = way
    user = (user or USERS[protocol]).replace(" ", "%20")
    port = FIRST_PORT + WAYS.index(way)
    return f"{protocol}://{user}@{SERVER4}:{port}?type={network}&security={security}&path=/way{more}"


@pytest.fixture(scope="module")
def pin(tunnel: Tunnel) -> Iterator[str]:
    """The servers run; the fingerprint of their certificate."""
    certificate = make_certificate(tunnel.lab)
    inbounds = [
        xray_stream_inbound(
            FIRST_PORT + index,
            protocol,
            USERS[protocol],
            network=network,
            certificate=certificate if security == "tls" else None,
        )
        for index, (protocol, network, security) in enumerate(WAYS)
    ]
    with start_xray(tunnel.lab, "stream-servers", xray_server(inbounds)):
        yield f"&pcs={sha256(ssl.PEM_cert_to_DER_cert(certificate[0].read_text())).hexdigest()}"


@pytest.mark.parametrize("way", WAYS, ids="-".join)
def test_tcp(tunnel: Tunnel, contents: Contents, pin: str, way: tuple[str, str, str]) -> None:
    script = f"curl -sS --fail http://{SITE4}/10m | sha256sum; curl -sS --fail http://site.lab/1k | wc -c"
    server = link(way, more=pin if "tls" in way else "")
    digest, _, size = tunnel.ok(["sh", "-c", script], server=server).split()
    assert (digest, size) == (contents.medium_sha256, "1024")


def test_vmess_by_its_other_cipher(tunnel: Tunnel, contents: Contents, pin: str) -> None:
    server = link(("vmess", "tcp", "none"), more="&encryption=chacha20-poly1305")
    done = tunnel.ok(["sh", "-c", f"curl -sS --fail http://{SITE4}/10m | sha256sum"], server=server)
    assert done.split()[0] == contents.medium_sha256


@pytest.mark.parametrize("protocol", USERS)
def test_a_certificate_that_is_not_valid_is_told_of(tunnel: Tunnel, pin: str, protocol: str) -> None:
    for more in ("", "&pcs=" + "0" * 64):
        done = tunnel.run(
            ["curl", "-sS", "-m", "5", f"http://{SITE4}/1k"], server=link((protocol, "tcp", "tls"), None, more)
        )
        assert done.returncode
        assert "certificate is not valid" in done.stderr.decode()


def test_a_wrong_path_is_told_of(tunnel: Tunnel, pin: str) -> None:
    server = link(("vless", "ws", "none")).replace("/way", "/other")
    done = tunnel.run(["curl", "-sS", "-m", "5", f"http://{SITE4}/1k"], server=server)
    assert done.returncode
    assert "404 to the upgrade: check the path" in done.stderr.decode()


def test_a_wrong_user_is_told_of(tunnel: Tunnel, pin: str) -> None:
    for server in (
        link(("vless", "tcp", "tls"), "11111111-89ab-cdef-0123-456789abcdef", pin),
        link(("trojan", "tcp", "tls"), "other", pin),
    ):
        done = tunnel.run(["curl", "-sS", "-m", "5", f"http://{SITE4}/1k"], server=server)
        assert done.returncode
        assert "check the password" in done.stderr.decode()


def test_udp_is_refused_at_once(tunnel: Tunnel, pin: str) -> None:
    server = link(("vless", "tcp", "none"))
    assert tunnel.run(client("udp", UDP_ECHO_PORT, 100, SITE4), server=server).returncode
