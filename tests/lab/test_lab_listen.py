"""`tunflow listen` on C for clients that know proxies only, in front of servers of several kinds."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest
from bench.netlab.namespaces import SITE4, SITE6
from bench.netlab.peers import UDP_ECHO_PORT
from bench.netlab.processes import Process
from bench.netlab.proxy_peers import HAS_DANTE, start_dante
from bench.netlab.tunnel import TUNFLOW, shadowsocks_url
from lab_support import Contents, Tunnel, client
from test_lab_proxies import DANTE

pytestmark = pytest.mark.lab

PORT = 1080
SERVERS = pytest.mark.parametrize("server", [shadowsocks_url(), DANTE, "direct://"], ids=["ss", "socks5", "direct"])


@pytest.fixture(scope="module")
def dante(tunnel: Tunnel) -> Iterator[None]:
    with start_dante(tunnel.lab) if HAS_DANTE else nullcontext():
        yield


@contextmanager
def listening(tunnel: Tunnel, server: str, **env: str) -> Iterator[Process]:
    with tunnel.lab.start(
        tunnel.lab.client, [TUNFLOW, "listen", f"127.0.0.1:{PORT}", "--server", server], env=env
    ) as process:
        process.wait_listening(PORT)
        yield process


def curl(tunnel: Tunnel, *arguments: str) -> str:
    done = tunnel.lab.client.run(["curl", "-sS", "-m", "15", *arguments], check=False)
    return done.stdout + done.stderr


@SERVERS
def test_clients_of_every_kind(tunnel: Tunnel, contents: Contents, dante: None, server: str) -> None:
    count = ["-o", "/dev/null", "-w", "%{http_code} %{size_download}"]
    with listening(tunnel, server):
        for scheme in ("socks5", "socks5h", "socks4", "socks4a", "http"):
            assert curl(tunnel, *count, "-x", f"{scheme}://127.0.0.1:{PORT}", f"http://{SITE4}/1k") == "200 1024"
        tunneled = curl(tunnel, *count, "-p", "-x", f"http://127.0.0.1:{PORT}", f"http://{SITE4}/10m")
        assert tunneled == "200 10000000"
        page = curl(tunnel, f"http://127.0.0.1:{PORT}/proxy.pac")
        assert f"SOCKS5 127.0.0.1:{PORT}; SOCKS 127.0.0.1:{PORT}; PROXY 127.0.0.1:{PORT}" in page


@SERVERS
def test_udp_through_the_port(tunnel: Tunnel, dante: None, server: str) -> None:
    """`tunflow run` is the SOCKS5 client here."""
    with listening(tunnel, server):
        for size in (1, 1200):
            argv = client("udp", UDP_ECHO_PORT, size, SITE4)
            assert tunnel.ok(argv, server=f"socks5://127.0.0.1:{PORT}") == "ok\n"


@pytest.mark.parametrize("server", [DANTE, "direct://"], ids=["socks5", "direct"])
def test_a_refused_target_is_told_in_the_clients_words(tunnel: Tunnel, dante: None, server: str) -> None:
    with listening(tunnel, server):
        assert "(5)" in curl(tunnel, "-x", f"socks5h://127.0.0.1:{PORT}", f"http://{SITE4}:9/")
        status = curl(tunnel, "-o", "/dev/null", "-w", "%{http_code}", "-x", f"http://127.0.0.1:{PORT}", f"{SITE4}:9")
        assert status == "502"


def test_a_name_and_a_password(tunnel: Tunnel) -> None:
    with listening(tunnel, "direct://", TUNFLOW_LISTEN_USER="me:S3CRET") as process:
        for sign_in, scheme, expected in (
            ("me:S3CRET@", "http", "200"),
            ("me:S3CRET@", "socks5h", "200"),
            ("me:bad@", "http", "407"),
            ("", "http", "407"),
            ("", "socks5h", "000"),
        ):
            proxy = f"{scheme}://{sign_in}127.0.0.1:{PORT}"
            told = curl(tunnel, "-o", "/dev/null", "-w", "%{http_code}", "-x", proxy, f"http://{SITE4}/1k")
            assert told.startswith(expected)
        assert "S3CRET" not in process.output()


def test_bad_arguments_are_one_line(tunnel: Tunnel) -> None:
    for arguments, words in (
        (["nonsense"], "listen takes ADDRESS:PORT"),
        (["--user", "S3CRET"], "take USER:PASSWORD"),
        (["10.9.9.9:1"], "not an address of this machine"),
    ):
        argv = [TUNFLOW, "listen", *arguments, "--server", "direct://"]
        done = tunnel.lab.client.run(argv, check=False)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert words in line
        assert "S3CRET" not in line


def test_pythons_urllib_goes_through_it(tunnel: Tunnel) -> None:
    urllib = f"import urllib.request as u; print(len(u.urlopen('http://{SITE4}/1k', timeout=30).read()))"
    with listening(tunnel, "direct://"):
        proxy = f"http_proxy=http://127.0.0.1:{PORT}"
        told = tunnel.lab.client.run(["env", proxy, sys.executable, "-c", urllib])
        assert told.stdout == "1024\n"


@SERVERS
def test_requests_for_two_sites_on_one_connection(
    tunnel: Tunnel, contents: Contents, dante: Process, server: str
) -> None:
    """nginx keeps its connection, and curl its own to the proxy: each request is answered by the site that it names."""
    told = ["-w", "%{http_code} %{size_download} %{num_connects}\n", "-o", "/dev/null"]
    through = ["-x", f"http://127.0.0.1:{PORT}"]
    one = [*told, f"http://{SITE4}/1k"]
    other = [*told, f"http://[{SITE6}]/10m"]
    with listening(tunnel, server):
        lines = curl(tunnel, *through, *one, *other, *one, *one).splitlines()
    assert lines == ["200 1024 1", "200 10000000 0", "200 1024 0", "200 1024 0"]


def test_what_curl_can_say_to_a_proxy(tunnel: Tunnel, contents: Contents) -> None:
    through = ["-x", f"http://127.0.0.1:{PORT}"]
    with listening(tunnel, shadowsocks_url()):
        old = curl(tunnel, *through, "-0", "-i", f"http://{SITE4}/1k")
        assert " 200 OK" in old.splitlines()[0]
        assert "chunked" not in old.lower()
        listing = curl(tunnel, *through, "-i", f"http://{SITE4}/")  # nginx sends a listing in chunks
        assert "Transfer-Encoding: chunked" in listing
        assert "chunked" not in curl(tunnel, *through, "-0", "-i", f"http://{SITE4}/").lower()
        head = curl(tunnel, *through, "-I", f"http://{SITE4}/10m")
        assert "Content-Length: 10000000" in head
        code = ["-o", "/dev/null", "-w", "%{http_code}"]
        upload = f"http://{SITE4}/upload"
        data = tunnel.lab.directory / "upload"
        data.write_bytes(bytes(3_000_000))
        assert curl(tunnel, *through, *code, "-T", str(data), upload) == "204"  # with an expectation
        assert curl(tunnel, *through, *code, "-T", str(data), "-H", "Transfer-Encoding: chunked", upload) == "204"
        assert curl(tunnel, *through, *code, "-H", "Host: another.example", f"http://{SITE4}/1k") == "200"


def test_rude_clients_end_nobody_elses_connection(tunnel: Tunnel, contents: Contents) -> None:
    with listening(tunnel, "direct://") as process:
        assert tunnel.lab.client.run(client("rude_proxy_clients", PORT)).stdout == "ok\n"
        through = ["-x", f"socks5h://127.0.0.1:{PORT}", "-o", "/dev/null", "-w", "%{http_code}"]
        assert curl(tunnel, *through, f"http://{SITE4}/1k") == "200"
        assert "Traceback" not in process.output()
        assert "internal error" not in process.output()
