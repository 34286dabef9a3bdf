"""ShadowVPN between two hosts: our client in `tunflow run`, our server, and what travels between them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from bench.netlab.namespaces import SERVER4, SITE4, Lab
from bench.netlab.peers import UDP_ECHO_PORT
from bench.netlab.processes import Process
from bench.netlab.tunnel import TUNFLOW
from lab_support import CLIENTS, Contents, Tunnel

pytestmark = pytest.mark.lab

PORT = 1123
TOKENS = ("7e335d67f1dc2c01", "ff593b9e6abeb2a5")
MTU = 1432


def server_of(lab: Lab, stack: ExitStack, query: str, *options: str) -> Process:
    link = f"shadowvpn://secret@{SERVER4}:{PORT}?{query}"
    server = stack.enter_context(lab.start(lab.server, [TUNFLOW, "serve", *options, link]))
    deadline = time.monotonic() + 60
    while "serving" not in server.output():
        assert time.monotonic() < deadline, server.output()
        time.sleep(0.02)
    return server


@pytest.fixture
def server(lab: Lab) -> Iterator[Process]:
    with ExitStack() as stack:
        yield server_of(lab, stack, "net=10.7.0.1/24")


def client(query: str = "", password: str = "secret") -> list[str]:
    link = f"shadowvpn://{password}@{SERVER4}:{PORT}?{query}"
    return [TUNFLOW, "run", "--server", link, "--"]


def run(lab: Lab, argv: list[str], *, timeout: float = 60.0) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        lab.client.command(argv), env=lab.client.env, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout,
        check=False,
    )  # fmt: skip


def ok(lab: Lab, argv: list[str]) -> str:
    done = run(lab, argv)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout.decode()


def rules(lab: Lab) -> str:
    return lab.server.run(["nft", "list", "ruleset"]).stdout


def forwarding(lab: Lab) -> str:
    return lab.server.run(["sysctl", "net.ipv4.ip_forward"]).stdout


def test_tcp(lab: Lab, server: Process, contents: Contents) -> None:
    fetched = ok(lab, [*client(), "curl", "-sS", "-o", "/dev/null", "-w", "%{size_download}", f"http://{SITE4}/10m"])
    assert fetched == "10000000"
    digest = ok(lab, [*client(), "sh", "-c", f"curl -sS http://{SITE4}/10m | sha256sum"])
    assert digest.split()[0] == contents.medium_sha256


def test_ping_fragments_and_the_edge_of_the_mtu(lab: Lab, server: Process) -> None:
    ping = ["ping", "-c", "2", "-i", "0.2", "-W", "30"]
    assert " 0% packet loss" in ok(lab, [*client(), *ping, "10.7.0.1"])
    assert " 0% packet loss" in ok(lab, [*client(), *ping, "-s", "4000", SITE4])
    assert " 0% packet loss" in ok(lab, [*client(), *ping, "-M", "do", "-s", str(MTU - 28), SITE4])
    over = run(lab, [*client(), *ping, "-M", "do", "-s", str(MTU - 27), SITE4])
    assert over.returncode != 0
    assert f"mtu={MTU}" in (over.stdout + over.stderr).decode()


@pytest.mark.parametrize("size", [0, 1, 1400, 2000])
def test_udp(lab: Lab, server: Process, tunnel: Tunnel, size: int) -> None:
    client_script = [sys.executable, str(CLIENTS / "udp.py"), str(UDP_ECHO_PORT), str(size), SITE4]
    assert ok(lab, [*client(), *client_script]) == "ok\n"


def test_two_users_with_one_inner_address(lab: Lab, contents: Contents) -> None:
    with ExitStack() as stack:
        server_of(lab, stack, f"net=10.7.0.1/24&user_token={','.join(TOKENS)}")
        argv = ["sh", "-c", f"for i in 1 2 3; do curl -sS http://{SITE4}/10m | sha256sum; done"]
        both = [
            stack.enter_context(lab.start(lab.client, [*client(f"net=192.168.77.5/24&user_token={token}"), *argv]))
            for token in TOKENS
        ]
        for process in both:
            process.popen.wait(60)
            assert process.output().count(contents.medium_sha256) == 3, process.output()


def test_garbage_at_the_servers_port_costs_a_transfer_nothing(lab: Lab, server: Process, contents: Contents) -> None:
    flood = (
        "import os, socket, time\n"
        f"sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); sock.connect(('{SERVER4}', {PORT}))\n"
        "end = time.monotonic() + 20\n"
        "while time.monotonic() < end:\n"
        "    for size in (0, 7, 23, 24, 60, 1400):\n"
        "        sock.send(os.urandom(size))\n"
        "    time.sleep(0.002)\n"
    )
    with lab.start(lab.client, [sys.executable, "-c", flood]):
        digest = ok(lab, [*client(), "sh", "-c", f"curl -sS http://{SITE4}/10m | sha256sum"])
    assert digest.split()[0] == contents.medium_sha256
    assert server.popen.poll() is None


def test_a_wrong_password_is_silence_and_then_a_line(lab: Lab, server: Process) -> None:
    done = run(lab, [*client(password="wrong"), "ping", "-c", "12", "-W", "1", "10.7.0.1"], timeout=40)
    assert done.returncode == 1
    assert b"no answer from shadowvpn://" in done.stderr
    assert b"wrong" not in done.stderr


def test_masquerade_lets_clients_out_and_is_taken_back(lab: Lab, contents: Contents) -> None:
    before = (rules(lab), forwarding(lab))
    with ExitStack() as stack:
        server = server_of(lab, stack, "net=10.7.0.1/24", "--masquerade")
        assert "masquerade" in rules(lab)
        assert server.stop() == 0
    assert (rules(lab), forwarding(lab)) == before


@pytest.mark.parametrize(
    ("link", "says"),
    [
        ("shadowvpn://x@host.invalid:1", "is not an address to listen on"),
        (f"shadowvpn://x@{SERVER4}:1?user_token=12", "16 hexadecimal digits"),
        (f"shadowvpn://x@{SERVER4}:1?mtu=70000", "from 92 to 9000"),
        ("shadowvpn://192.0.2.1:1", "password is missing"),
    ],
)
def test_links_that_a_server_cannot_use(lab: Lab, link: str, says: str) -> None:
    done = run(lab, [TUNFLOW, "serve", link])
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert says in line
