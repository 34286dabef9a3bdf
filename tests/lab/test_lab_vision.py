"""VLESS with `xtls-rprx-vision` against Xray's core: what leaves TLS, what stays in it, and what is refused."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from bench.netlab.namespaces import SERVER4, SITE4, SITE6
from bench.netlab.peers import UDP_ECHO_PORT
from bench.netlab.proxy_peers import make_certificate, start_xray, xray_server, xray_stream_inbound
from lab_support import COUNTED_DIGEST, Contents, Tunnel, client

pytestmark = pytest.mark.lab

PORT = 8640
SITE = 8645
"""nginx's, with TLS of its own."""
USER = "01234567-89ab-cdef-0123-456789abcdef"
FLOW = "xtls-rprx-vision"
PLAIN = "plain from here on"


def start_site(tunnel: Tunnel, certificate: tuple[Path, Path], root: Path) -> object:
    directory = tunnel.lab.directory / "vision-site"
    directory.mkdir()
    (directory / "nginx.conf").write_text(
        f"daemon off; error_log stderr; pid {directory}/pid; events {{}}\n"
        f"http {{ access_log off; client_max_body_size 0; client_body_temp_path {directory};"
        f" server {{ listen {SERVER4}:{SITE} ssl; ssl_certificate {certificate[0]};"
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
    made.chmod(0o755)
    for parent in list(made.parents)[:2]:
        parent.chmod(0o755)
    (made / "3m").write_bytes(bytes(range(256)) * 12000)
    (made / "1k").write_bytes(bytes(1024))
    (made / "put").mkdir()
    (made / "put").chmod(0o777)
    return made


@pytest.fixture(scope="module")
def link(tunnel: Tunnel, root: Path) -> Iterator[str]:
    """The servers run; the link to them."""
    certificate = make_certificate(tunnel.lab)
    inbound = xray_stream_inbound(PORT, "vless", USER, certificate=certificate, flow=FLOW)
    pin = sha256(ssl.PEM_cert_to_DER_cert(certificate[0].read_text())).hexdigest()
    with start_xray(tunnel.lab, "vision", xray_server([inbound])), start_site(tunnel, certificate, root):
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
