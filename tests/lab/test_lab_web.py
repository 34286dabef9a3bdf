"""What people do all day: fetch pages and files, by name and address, in both families, with every cipher."""

from __future__ import annotations

import hashlib
import os

import pytest
from bench.netlab.namespaces import SERVER6, SITE4, SITE6
from bench.netlab.peers import clean_environment, start_shadowsocks_server
from bench.netlab.tunnel import shadowsocks_url
from lab_support import BIG_BYTES, Contents, Tunnel

pytestmark = pytest.mark.lab

METHODS = ("aes-128-gcm", "aes-192-gcm", "aes-256-gcm", "chacha20-ietf-poly1305", "xchacha20-ietf-poly1305")


def sha256_of(url: str, *options: str) -> list[str]:
    """A shell command that prints the checksum of what curl gets."""
    return ["bash", "-c", f"set -o pipefail; curl -sSf {' '.join(options)} {url} | sha256sum"]


@pytest.mark.parametrize(("port", "method"), list(enumerate(METHODS, start=8401)))
def test_every_method_carries_a_file(tunnel: Tunnel, contents: Contents, port: int, method: str) -> None:
    with start_shadowsocks_server(tunnel.lab, method, port):
        got = tunnel.ok(sha256_of(f"http://{SITE4}/10m"), server=shadowsocks_url(method, port=port))
    assert got.split()[0] == contents.medium_sha256


@pytest.mark.parametrize("host", ["site.lab", SITE4, f"[{SITE6}]", "four.lab", "six.lab"])
def test_curl(tunnel: Tunnel, contents: Contents, host: str) -> None:
    got = tunnel.ok(["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{size_download}", f"http://{host}/1k"])
    assert got == "200 1024"


def test_server_reached_over_ipv6(tunnel: Tunnel, contents: Contents) -> None:
    got = tunnel.ok(sha256_of(f"http://{SITE4}/10m"), server=shadowsocks_url(host=SERVER6))
    assert got.split()[0] == contents.medium_sha256


@pytest.mark.parametrize("family", ["-4", "-6"])
def test_wget_in_either_family(tunnel: Tunnel, contents: Contents, family: str) -> None:
    assert len(tunnel.run(["wget", family, "-qO-", "http://site.lab/1k"]).stdout) == 1024


def test_static_binary(tunnel: Tunnel, contents: Contents) -> None:
    """No LD_PRELOAD trick reaches a static binary."""
    assert len(tunnel.run(["busybox", "wget", "-qO-", "http://site.lab/1k"]).stdout) == 1024


@pytest.mark.parametrize("server", [None, "direct://"], ids=["ss", "direct"])
def test_big_download_is_whole(tunnel: Tunnel, contents: Contents, server: str | None) -> None:
    got = tunnel.ok(sha256_of("http://site.lab/big"), server=server, timeout=120 + BIG_BYTES / 5e6)
    assert got.split()[0] == contents.big_sha256


def test_eight_downloads_at_once_are_whole(tunnel: Tunnel, contents: Contents) -> None:
    script = f"for i in 1 2 3 4 5 6 7 8; do curl -sSf http://{SITE4}/10m | sha256sum & done; wait"
    sums = [line.split()[0] for line in tunnel.ok(["sh", "-c", script]).splitlines()]
    assert sums == [contents.medium_sha256] * 8


def test_git_clone(tunnel: Tunnel, contents: Contents) -> None:
    target = tunnel.lab.directory / "clone"
    tunnel.ok(["git", "clone", "-q", "http://site.lab/repository.git", str(target)])
    head = tunnel.lab.client.run(["git", "-C", str(target), "rev-parse", "HEAD"]).stdout.strip()
    assert head == contents.commit


def test_pip_download(tunnel: Tunnel, contents: Contents) -> None:
    target = tunnel.lab.directory / "wheels"
    index = ["--index-url", "http://site.lab/simple", "--trusted-host", "site.lab"]
    unset = [part for key in os.environ.keys() - clean_environment().keys() for part in ("-u", key)]
    pip = ["env", *unset, "PIP_CONFIG_FILE=/dev/null", "python3", "-m", "pip", "--disable-pip-version-check"]
    tunnel.ok([*pip, "download", "-q", "--no-cache-dir", "--no-deps", *index, "-d", str(target), "labpackage"])
    served = tunnel.lab.directory / "site" / "simple" / "labpackage" / contents.wheel
    assert (
        hashlib.sha256((target / contents.wheel).read_bytes()).digest() == hashlib.sha256(served.read_bytes()).digest()
    )
