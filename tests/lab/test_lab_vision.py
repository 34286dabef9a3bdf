"""VLESS with `xtls-rprx-vision` and REALITY against Xray's core: what leaves TLS, what stays in it, what is refused."""

from __future__ import annotations

import ssl
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from bench.netlab.namespaces import SERVER4, SITE4, SITE6
from bench.netlab.peers import UDP_ECHO_PORT
from bench.netlab.proxy_peers import make_certificate, start_xray, xray_server, xray_stream_inbound
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from lab_support import COUNTED_DIGEST, Contents, Tunnel, client

pytestmark = pytest.mark.lab

PORT = 8640
SITE = 8645
"""nginx's, with TLS of its own."""
USER = "01234567-89ab-cdef-0123-456789abcdef"
FLOW = "xtls-rprx-vision"
PLAIN = "plain from here on"
PRIVATE = X25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
"""REALITY's key."""
SECOND = MLDSA65PrivateKey.from_seed_bytes(bytes(32))
"""That of its second signature."""
SHORT_ID = "0123abcd"


def in_base64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


KNOWN = f"security=reality&sni=site.lab&sid={SHORT_ID}&pbk={in_base64(PRIVATE.public_key().public_bytes_raw())}"
REALITY = {
    "vless": f"vless://{USER}@{SERVER4}:{PORT + 1}?flow={FLOW}&{KNOWN}",
    "grpc": f"vless://{USER}@{SERVER4}:{PORT + 2}?type=grpc&serviceName=way&{KNOWN}",
    "trojan": f"trojan://secret@{SERVER4}:{PORT + 3}?{KNOWN}&pqv={in_base64(SECOND.public_key().public_bytes_raw())}",
}


def start_site(tunnel: Tunnel, certificate: tuple[Path, Path], root: Path) -> object:
    directory = tunnel.lab.directory / "vision-site"
    directory.mkdir()
    chain = directory / "chain.pem"  # as long as one with a signature by ML-DSA-65, which a server hides in its length
    chain.write_text(certificate[0].read_text() * 10)
    (directory / "nginx.conf").write_text(
        f"user root; daemon off; error_log stderr; pid {directory}/pid; events {{}}\n"
        f"http {{ access_log off; client_max_body_size 0; client_body_temp_path {directory};"
        f" server {{ listen {SERVER4}:{SITE} ssl; ssl_certificate {chain};"
        f" ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate_key {certificate[1]}; root {root};"
        " location /put/ { dav_methods PUT; } } }\n"
    )
    argv = ["nginx", "-p", str(directory), "-e", str(directory / "error.log"), "-c", "nginx.conf"]
    server = tunnel.lab.start(tunnel.lab.server, argv)
    server.wait_listening(SITE)
    return server


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the site with TLS serves."""
    made: Path = tmp_path_factory.mktemp("vision")
    (made / "3m").write_bytes(bytes(range(256)) * 12000)
    (made / "1k").write_bytes(bytes(1024))
    (made / "put").mkdir()
    return made


@pytest.fixture(scope="module")
def link(tunnel: Tunnel, root: Path) -> Iterator[str]:
    """The servers run; the link to them."""
    certificate = make_certificate(tunnel.lab)
    settings = {
        "target": f"{SERVER4}:{SITE}",
        "serverNames": ["site.lab"],
        "privateKey": in_base64(PRIVATE.private_bytes_raw()),
        "shortIds": [SHORT_ID],
    }
    inbounds = [
        xray_stream_inbound(PORT, "vless", USER, certificate=certificate, flow=FLOW),
        xray_stream_inbound(PORT + 1, "vless", USER, flow=FLOW, reality=settings),
        xray_stream_inbound(PORT + 2, "vless", USER, network="grpc", reality=settings),
        xray_stream_inbound(PORT + 3, "trojan", "secret", reality=settings | {"mldsa65Seed": in_base64(bytes(32))}),
    ]
    pin = sha256(ssl.PEM_cert_to_DER_cert(certificate[0].read_text())).hexdigest()
    with start_site(tunnel, certificate, root), start_xray(tunnel.lab, "vision", xray_server(inbounds)):
        yield f"vless://{USER}@{SERVER4}:{PORT}?security=tls&flow={FLOW}&pcs={pin}"


def exchange(tunnel: Tunnel, link: str, root: Path, more: str) -> str:
    """Get and put a file by HTTPS, check both, return the tunnel's log."""
    url, file = f"https://{SERVER4}:{SITE}", root / "3m"
    digest = sha256(file.read_bytes()).hexdigest()
    # The first answer is small: Xray's server leaves TLS with what it read at once if that ends with a record.
    get = f"curl -skS --fail {more} -o /dev/null {url}/1k {url}/3m | sha256sum"
    put = f"curl -skS --fail {more} -T {file} {url}/put/back"
    done = tunnel.run(["sh", "-c", f"{get}; {put}"], server=link, options=["-v"])
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().split()[0] == digest
    assert sha256((root / "put" / "back").read_bytes()).hexdigest() == digest
    (root / "put" / "back").unlink()
    return done.stderr.decode()


def test_tls13_inside_leaves_the_outer_one(tunnel: Tunnel, link: str, root: Path) -> None:
    log = exchange(tunnel, link, root, "--tlsv1.3")
    assert log.count(PLAIN) == 2, log


def test_tls12_inside_stays_in_the_outer_one(tunnel: Tunnel, link: str, root: Path) -> None:
    assert PLAIN not in exchange(tunnel, link, root, "--tls-max 1.2")


def test_no_tls_inside_stays_in_the_outer_one(tunnel: Tunnel, contents: Contents, link: str) -> None:
    get = f"curl -sS --fail http://{SITE4}/10m | sha256sum; curl -sS --fail http://site.lab/1k | wc -c"
    send = " ".join(client("upload", SITE4, COUNTED_DIGEST, 3_000_000))
    done = tunnel.run(["sh", "-c", f"{get}; {send}"], server=link, options=["-v"])
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().split() == [contents.medium_sha256, "-", "1024", "ok"]
    assert PLAIN not in done.stderr.decode()


def test_udp_goes_in_one_stream(tunnel: Tunnel, link: str) -> None:
    sizes = ("1", "100", "1200", "1400", "2000")
    echo = " ".join(client("udp_sizes", SITE4, UDP_ECHO_PORT, *sizes))
    others = " ".join(client("udp", UDP_ECHO_PORT, 500, SITE4, SITE6))
    done = tunnel.ok(["sh", "-c", f"dig +short +notcp @{SITE4} site.lab; {echo}; {others}"], server=link)
    assert done.split() == [SITE4, str(sum(map(int, sizes))), "ok"]


def test_udp_to_port_443_is_refused_at_once(tunnel: Tunnel, link: str) -> None:
    done = tunnel.run(client("udp_sizes", SITE4, 443, 100), server=link)
    assert done.returncode
    assert "refused" in done.stderr.decode()
    assert "keeps QUIC out" in done.stderr.decode()


def test_a_user_with_a_flow_is_not_served_without_it(tunnel: Tunnel, link: str) -> None:
    get = ["curl", "-sS", "-m", "5", f"http://{SITE4}/1k"]
    done = tunnel.run(get, server=link.replace(f"&flow={FLOW}", ""))
    assert done.returncode
    assert "check" in done.stderr.decode()


def test_reality_with_vision(tunnel: Tunnel, link: str, root: Path) -> None:
    log = exchange(tunnel, REALITY["vless"], root, "--tlsv1.3")
    assert log.count(PLAIN) == 2, log


@pytest.mark.parametrize("way", REALITY)
def test_reality_carries_everything(tunnel: Tunnel, contents: Contents, link: str, way: str) -> None:
    get = f"curl -sS --fail http://{SITE4}/1m | sha256sum; curl -sS --fail http://site.lab/1k | wc -c"
    send = " ".join(client("upload", SITE4, COUNTED_DIGEST, 3_000_000))
    echo = " ".join(client("udp_sizes", SITE4, UDP_ECHO_PORT, 1, 1200))
    done = tunnel.ok(["sh", "-c", f"{get}; {send}; {echo}"], server=REALITY[way])
    assert done.split() == [contents.million_sha256, "-", "1024", "ok", "1201"]


@pytest.mark.parametrize(
    ("word", "other"),
    [
        (SHORT_ID, "0123abce"),
        (KNOWN.partition("pbk=")[2], in_base64(b"\x09" + bytes(31))),
        (f":{PORT + 1}?", f":{SITE}?"),
    ],
    ids=["short id", "key", "no REALITY"],
)
def test_who_is_taken_for_a_stranger_is_told_why(tunnel: Tunnel, link: str, word: str, other: str) -> None:
    server = REALITY["vless"].replace(word, other)
    done = tunnel.run(["curl", "-sS", "-m", "30", f"http://{SITE4}/1k"], server=server)
    assert done.returncode
    assert "as REALITY servers do to strangers: check pbk, sid, sni" in done.stderr.decode()
