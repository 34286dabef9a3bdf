"""Trojan, VLESS and VMess against Xray's core, over each transport, with and without TLS."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from bench.netlab.namespaces import SERVER4, SITE4, SITE6, Process
from bench.netlab.peers import UDP_ECHO_PORT
from bench.netlab.proxy_peers import make_certificate, start_xray, xray_server, xray_stream_inbound
from lab_support import Contents, Tunnel, client

from cost import least

pytestmark = pytest.mark.lab

FIRST_PORT = 8430
FRONT = 8429
USERS = {"trojan": "lab password", "vless": "01234567-89ab-cdef-0123-456789abcdef"}
USERS["vmess"] = USERS["vless"]
WAYS = [
    (protocol, network, security)
    for protocol in USERS
    for network in ("tcp", "ws", "httpupgrade", "grpc", "xhttp")
    for security in ("none", "tls")
]


def link(way: tuple[str, str, str], user: str | None = None, more: str = "") -> str:
    protocol, network, security = way
    user = (user or USERS[protocol]).replace(" ", "%20")
    port = FIRST_PORT + WAYS.index(way)
    where = "serviceName=way" if network == "grpc" else "path=/way"
    return f"{protocol}://{user}@{SERVER4}:{port}?type={network}&security={security}&{where}{more}"


def start_front(tunnel: Tunnel, certificate: tuple[Path, Path]) -> Process:
    """nginx with TLS before a gRPC server of Xray's."""
    behind = FIRST_PORT + WAYS.index(("vless", "grpc", "none"))
    directory = tunnel.lab.directory / "front"
    directory.mkdir()
    (directory / "nginx.conf").write_text(
        f"daemon off; error_log stderr; pid {directory}/pid; events {{}}\n"
        f"http {{ access_log off; server {{ listen {SERVER4}:{FRONT} ssl http2; ssl_certificate {certificate[0]};"
        f" ssl_certificate_key {certificate[1]}; location /way/ {{ grpc_pass grpc://{SERVER4}:{behind}; }} }} }}\n"
    )
    argv = ["nginx", "-p", str(directory), "-e", str(directory / "error.log"), "-c", "nginx.conf"]
    server = tunnel.lab.start(tunnel.lab.server, argv)
    server.wait_listening(FRONT)
    return server


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
    with start_xray(tunnel.lab, "stream-servers", xray_server(inbounds)), start_front(tunnel, certificate):
        yield f"&pcs={sha256(ssl.PEM_cert_to_DER_cert(certificate[0].read_text())).hexdigest()}"


@pytest.mark.parametrize("way", WAYS, ids="-".join)
def test_tcp(tunnel: Tunnel, contents: Contents, pin: str, way: tuple[str, str, str]) -> None:
    script = f"curl -sS --fail http://{SITE4}/10m | sha256sum; curl -sS --fail http://site.lab/1k | wc -c"
    server = link(way, more=pin if "tls" in way else "")
    digest, _, size = tunnel.ok(["sh", "-c", script], server=server).split()
    assert (digest, size) == (contents.medium_sha256, "1024")


def test_flows_share_connections_through_a_web_server_in_front(tunnel: Tunnel, contents: Contents, pin: str) -> None:
    server = f"vless://{USERS['vless']}@{SERVER4}:{FRONT}?type=grpc&security=tls&serviceName=way{pin}"
    count = f"for i in 1 2 3 4 5 6; do curl -sS --fail http://{SITE4}/10m | sha256sum & done; wait"
    found = tunnel.ok(["sh", "-c", count], server=server).split()[::2]
    assert found == [contents.medium_sha256] * 6


def test_vmess_by_its_other_cipher(tunnel: Tunnel, contents: Contents, pin: str) -> None:
    server = link(("vmess", "tcp", "none"), more="&encryption=chacha20-poly1305")
    done = tunnel.ok(["sh", "-c", f"curl -sS --fail http://{SITE4}/10m | sha256sum"], server=server)
    assert done.split()[0] == contents.medium_sha256


@pytest.mark.parametrize("protocol", USERS)
def test_a_certificate_that_is_not_valid_is_told_of(tunnel: Tunnel, pin: str, protocol: str) -> None:
    for more in ("", "&pcs=" + "0" * 64):
        done = tunnel.run(
            ["curl", "-sS", "-m", "30", f"http://{SITE4}/1k"], server=link((protocol, "tcp", "tls"), None, more)
        )
        assert done.returncode
        assert "certificate is not valid" in done.stderr.decode()


def test_a_wrong_path_is_told_of(tunnel: Tunnel, pin: str) -> None:
    server = link(("vless", "ws", "none")).replace("/way", "/other")
    done = tunnel.run(["curl", "-sS", "-m", "30", f"http://{SITE4}/1k"], server=server)
    assert done.returncode
    assert "404 to the upgrade: check the path" in done.stderr.decode()


@pytest.mark.parametrize(
    ("way", "word", "other", "says"),
    [
        (("vless", "grpc", "none"), "serviceName=way", "serviceName=other", "check serviceName"),
        (("vless", "xhttp", "none"), "path=/way", "path=/other", "404 to the request: check path and host"),
        (("vless", "grpc", "tls"), "no pin", "", "certificate is not valid"),
        (("vless", "grpc", "none"), "type=grpc", "type=ws", "no WebSocket server"),
        (("vless", "ws", "none"), "type=ws", "type=grpc", "closed a connection without an answer"),
        (("vless", "tcp", "none"), "security=none", "security=tls", "closed the connection before it had answered"),
        (("vless", "tcp", "tls"), "security=tls", "security=none&pcs=", "names a certificate to check or not to check"),
        (("vless", "tcp", "tls"), "no pin", "&sni=other.example", "certificate is not valid"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_a_server_that_is_another_is_told_of(
    tunnel: Tunnel, pin: str, way: tuple[str, str, str], word: str, other: str, says: str
) -> None:
    if word == "no pin":
        server = link(way, more=other)
    else:
        server = link(way, more=pin if "tls" in way else "").replace(word, other)
    server = server.replace("&path=/way", "").replace("&serviceName=way", "") if "type" in word else server
    done = tunnel.run(["curl", "-sS", "-m", "30", f"http://{SITE4}/1k"], server=server)
    assert done.returncode
    assert says in done.stderr.decode()


def test_a_wrong_user_is_told_of(tunnel: Tunnel, pin: str) -> None:
    for server in (
        link(("vless", "tcp", "tls"), "11111111-89ab-cdef-0123-456789abcdef", pin),
        link(("trojan", "tcp", "tls"), "other", pin),
    ):
        done = tunnel.run(["curl", "-sS", "-m", "30", f"http://{SITE4}/1k"], server=server)
        assert done.returncode
        assert "check the password" in done.stderr.decode()


SIZES = ("1", "100", "1200", "1400", "2000")


@pytest.mark.parametrize("way", WAYS, ids="-".join)
def test_udp(tunnel: Tunnel, pin: str, way: tuple[str, str, str]) -> None:
    server = link(way, more=pin if "tls" in way else "")
    echo = " ".join(client("udp_sizes", SITE4, UDP_ECHO_PORT, *SIZES))
    others = " ".join(client("udp", UDP_ECHO_PORT, 500, SITE4, SITE6))
    script = f"dig +short +notcp @{SITE4} site.lab; {echo}; {others}"
    done = tunnel.ok(["sh", "-c", script], server=server)
    assert done.split() == [SITE4, str(sum(map(int, SIZES))), "ok"]


@pytest.mark.parametrize("protocol", ["vless", "vmess"])
def test_udp_to_all_targets_in_one_stream(tunnel: Tunnel, pin: str, protocol: str) -> None:
    server = link((protocol, "tcp", "none"), more="&packetEncoding=xudp")
    echo = " ".join(client("udp_sizes", SITE4, UDP_ECHO_PORT, *SIZES))
    others = " ".join(client("udp", UDP_ECHO_PORT, 500, SITE4, SITE6))
    done = tunnel.ok(["sh", "-c", f"dig +short +notcp @{SITE4} site.lab; {echo}; {others}"], server=server)
    assert done.split() == [SITE4, str(sum(map(int, SIZES))), "ok"]


def test_udp_that_its_user_does_not_want_there_is_refused_at_once(tunnel: Tunnel, pin: str) -> None:
    server = link(("vless", "tcp", "none"), more="&udp=no")

    def turn() -> float:
        started = time.monotonic()
        assert tunnel.run(client("udp_sizes", SITE4, UDP_ECHO_PORT, 100), server=server).returncode
        return time.monotonic() - started

    assert least(turn, 4) < 4  # and not after the client's own time-out


def test_udp_without_a_server_is_told_of(tunnel: Tunnel, pin: str) -> None:
    server = link(("trojan", "tcp", "none")).replace(str(FIRST_PORT), str(FIRST_PORT - 2))
    done = tunnel.run(client("udp_refused", SITE4, UDP_ECHO_PORT, "briefly"), server=server)
    assert done.stdout == b"timeout\n"
    assert "UDP: Connection refused" in done.stderr.decode()
