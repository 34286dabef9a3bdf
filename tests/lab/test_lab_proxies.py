"""Traffic of real programs through real proxies: dante, microsocks, ssh -D, tinyproxy, alone and in chains."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from bench.netlab.namespaces import SERVER4, SITE4, SITE6
from bench.netlab.peers import SSH_PORT, UDP_ECHO_PORT
from bench.netlab.proxy_peers import (
    DANTE_PORT,
    HAS_DANTE,
    HTTPS_PROXY_PORT,
    MICROSOCKS_PORT,
    PASSWORD,
    PLAIN_PASSWORD,
    SSH_DYNAMIC_PORT,
    TINYPROXY_BASIC_PORT,
    TINYPROXY_PORT,
    USER,
    start_dante,
    start_microsocks,
    start_ssh_dynamic,
    start_tinyproxy,
    start_tls,
)
from bench.netlab.tunnel import shadowsocks_url
from lab_support import DIGEST, SPEAKS_FIRST, Contents, Tunnel, client

pytestmark = pytest.mark.lab

SIGN_IN = f"{USER}:{quote(PASSWORD, safe='')}@"
DANTE = f"socks5://{SERVER4}:{DANTE_PORT}"
DANTE_4 = f"socks4://{SERVER4}:{DANTE_PORT}"
MICROSOCKS = f"socks5://{SIGN_IN}{SERVER4}:{MICROSOCKS_PORT}"
SSH_5 = f"socks5://{SERVER4}:{SSH_DYNAMIC_PORT}"
SSH_4A = f"socks4a://{SERVER4}:{SSH_DYNAMIC_PORT}"
TINYPROXY = f"http://{SERVER4}:{TINYPROXY_PORT}"
TINYPROXY_BASIC = f"http://{USER}:{PLAIN_PASSWORD}@{SERVER4}:{TINYPROXY_BASIC_PORT}"
HTTPS = f"https://{SERVER4}:{HTTPS_PROXY_PORT}"
SS = shadowsocks_url()

ONE = [DANTE, DANTE_4, MICROSOCKS, SSH_5, SSH_4A, TINYPROXY, TINYPROXY_BASIC, HTTPS]
CHAINS = [(SS, DANTE), (DANTE, SS), (TINYPROXY, MICROSOCKS, SS), (MICROSOCKS, HTTPS, SSH_4A), (SS, DANTE, SS)]
NO_UDP = [TINYPROXY, DANTE_4, MICROSOCKS, SSH_5]


def name_of(value: object) -> str:
    links = value if isinstance(value, tuple) else (value,)
    return " ".join(str(link).partition("@")[2] or str(link) for link in links)


@pytest.fixture(scope="module")
def trusted(tunnel: Tunnel) -> Iterator[Path]:
    """Every proxy, running; the certificate of the one that is reached over TLS."""
    lab = tunnel.lab
    running = [
        *([start_dante(lab)] if HAS_DANTE else []),
        start_microsocks(lab),
        start_ssh_dynamic(lab),
        start_tinyproxy(lab),
        start_tinyproxy(lab, TINYPROXY_BASIC_PORT, basic=True),
    ]
    yield start_tls(lab)
    for process in running:
        process.stop()


def through(tunnel: Tunnel, trusted: Path, links: tuple[str, ...], argv: list[str], **options: object) -> str:
    """What `argv` says behind these servers, the first hop first."""
    more = [part for link in links[1:] for part in ("--server", link)]
    env = {"SSL_CERT_FILE": str(trusted)}
    return tunnel.ok(argv, server=links[0], options=more, env=env, **options)


@pytest.mark.parametrize("links", [*((link,) for link in ONE), *CHAINS], ids=name_of)
def test_a_download_is_whole(tunnel: Tunnel, contents: Contents, trusted: Path, links: tuple[str, ...]) -> None:
    script = f"curl -sS --fail http://{SITE4}/10m | sha256sum"
    assert through(tunnel, trusted, links, ["sh", "-c", script]).split()[0] == contents.medium_sha256


@pytest.mark.parametrize("links", [(link,) for link in (DANTE, MICROSOCKS, TINYPROXY)], ids=name_of)
def test_names_and_both_families_for_three_kinds_of_clients(
    tunnel: Tunnel, trusted: Path, links: tuple[str, ...]
) -> None:
    """curl, a static binary, and Python; the resolver is asked over TCP through the proxy."""
    urllib = "import sys, urllib.request as u; print(len(u.urlopen(sys.argv[1], timeout=30).read()))"
    script = (
        "curl -sS --fail -6 http://site.lab/1k | wc -c; busybox wget -q -O - http://four.lab/1k | wc -c; "
        f"{sys.executable} -c '{urllib}' http://site.lab/1k"
    )
    assert through(tunnel, trusted, links, ["sh", "-c", script]).split() == ["1024"] * 3


@pytest.mark.parametrize("links", [(DANTE,), (HTTPS,), (SS, DANTE)], ids=name_of)
def test_a_server_that_speaks_first_and_half_close(tunnel: Tunnel, trusted: Path, links: tuple[str, ...]) -> None:
    greeting = f"sleep 0.4 | busybox nc -w 5 {SITE4} {SPEAKS_FIRST} | head -c 5"
    assert through(tunnel, trusted, links, ["sh", "-c", greeting]) == "hello"
    if links == (DANTE,):  # the others end both directions at the first end
        argv = client("upload", SITE4, DIGEST, 1_000_000, "half-close")
        assert through(tunnel, trusted, links, argv) == "ok\n"


@pytest.mark.parametrize("links", [(link,) for link in (DANTE, MICROSOCKS, SSH_4A, TINYPROXY)], ids=name_of)
def test_a_refused_connection_is_refused_before_it_opened(
    tunnel: Tunnel, trusted: Path, links: tuple[str, ...]
) -> None:
    done = tunnel.run(["curl", "-sS", f"http://{SITE4}:9"], server=links[0])
    assert done.returncode == 7, done.stderr  # curl: "Failed to connect to host"


@pytest.mark.parametrize(
    ("server", "words"),
    [
        (MICROSOCKS.replace(USER, "nobody"), "does not accept the user name and password"),
        (f"socks5://{SERVER4}:{MICROSOCKS_PORT}", "wants a user name and password"),
        (f"http://{SERVER4}:{TINYPROXY_BASIC_PORT}", "wants a user name and password"),
        (HTTPS, "certificate is not valid"),
        (f"socks5://{SERVER4}:{SSH_PORT}", "not a SOCKS5 server"),
        (f"http://{SERVER4}:{SSH_PORT}", "not an HTTP proxy"),
    ],
)
def test_a_server_that_refuses_us_is_told_of(tunnel: Tunnel, trusted: Path, server: str, words: str) -> None:
    done = tunnel.run(["curl", "-sS", "-m", "30", f"http://{SITE4}/1k"], server=server)
    assert done.returncode == 7
    errors = done.stderr.decode()
    assert words in errors
    assert quote(PASSWORD, safe="") not in errors
    assert PASSWORD not in errors


@pytest.mark.parametrize("links", [(DANTE,), (SS, DANTE), (DANTE, SS), (SS, DANTE, SS)], ids=name_of)
def test_udp_by_association(tunnel: Tunnel, trusted: Path, links: tuple[str, ...]) -> None:
    """Through the proxy, and through a proxy that is itself reached through Shadowsocks."""
    for size in (0, 1, 1200):
        assert through(tunnel, trusted, links, client("udp", UDP_ECHO_PORT, size, SITE4)) == "ok\n"


@pytest.mark.parametrize("server", [DANTE], ids=name_of)
def test_names_over_udp_by_association(tunnel: Tunnel, trusted: Path, server: str) -> None:
    options = {"dns": f"udp://{SITE4}:53"}
    assert through(tunnel, trusted, (server,), ["dig", "+short", "site.lab"], **options) == f"{SITE4}\n"


@pytest.mark.parametrize("server", NO_UDP, ids=name_of)
def test_udp_where_there_is_none_is_refused_at_once(tunnel: Tunnel, trusted: Path, server: str) -> None:
    done = tunnel.run(client("udp_refused", SITE4, UDP_ECHO_PORT), server=server)
    assert done.stdout.decode() == "ECONNREFUSED\n"


def test_optimistic_bytes_arrive(tunnel: Tunnel, trusted: Path) -> None:
    script = f"curl -sS --fail http://[{SITE6}]/1k | sha256sum"
    expected = hashlib.sha256((tunnel.lab.directory / "site" / "1k").read_bytes()).hexdigest()
    links = (f"{SSH_5}?optimistic=yes",)
    assert through(tunnel, trusted, links, ["sh", "-c", script]).split()[0] == expected
