"""`ssh://` against OpenSSH's server: one connection for all flows, by key, alone and in chains."""

from __future__ import annotations

import subprocess

import pytest
from bench.netlab.namespaces import SERVER4, SITE4
from bench.netlab.peers import SSH_PORT
from bench.netlab.tunnel import shadowsocks_url
from lab_support import Contents, Tunnel, client

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def server(tunnel: Tunnel) -> str:
    """The link, with the key that the lab's sshd takes and the key that it shows."""
    directory = tunnel.lab.directory
    line = subprocess.run(
        ["ssh-keygen", "-lf", str(directory / "host_key.pub")], check=True, capture_output=True, text=True
    ).stdout
    return f"ssh://root@{SERVER4}:{SSH_PORT}?key={directory}/user_key&host-key={line.split()[1]}"


def test_many_flows_and_names(tunnel: Tunnel, contents: Contents, server: str) -> None:
    script = f"""
        curl -sS --fail http://{SITE4}/10m | sha256sum
        curl -sS --fail 'http://site.lab/1k?[1-20]' --parallel | wc -c
        dig +short +tcp @{SITE4} site.lab"""
    done = tunnel.ok(["sh", "-c", script], server=server).split()
    assert done == [contents.medium_sha256, "-", "20480", SITE4]


@pytest.mark.parametrize("is_first", [True, False])
def test_in_a_chain(tunnel: Tunnel, contents: Contents, server: str, is_first: bool) -> None:
    first, last = (server, shadowsocks_url()) if is_first else (shadowsocks_url(), server)
    ask = ["sh", "-c", f"for i in 1 2 3; do curl -sS --fail http://{SITE4}/1m | sha256sum; done"]
    done = tunnel.ok(ask, server=first, options=["--server", last])
    assert done.split() == [contents.million_sha256, "-"] * 3


def test_what_is_wrong_is_told(tunnel: Tunnel, server: str) -> None:
    ask = ["curl", "-sS", "-m", "30", f"http://{SITE4}/1k"]
    unknown = server.partition("&host-key")[0] + "&known-hosts=/dev/null"
    for link, words in (
        (unknown, "if it is the right one, add ?host-key=SHA256:"),
        (server.replace("user_key", "host_key"), "does not accept the user root with the key"),
    ):
        done = tunnel.run(ask, server=link)
        assert done.returncode
        assert words in done.stderr.decode()


def test_a_closed_port_is_refused_and_udp_too(tunnel: Tunnel, server: str) -> None:
    assert tunnel.run(["curl", "-sS", "-m", "30", f"http://{SITE4}:9/"], server=server).returncode == 7
    assert tunnel.run(client("udp_sizes", SITE4, 5353, "100"), server=server).returncode
