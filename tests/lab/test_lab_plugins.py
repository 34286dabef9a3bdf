"""Shadowsocks behind SIP003 plugins, whose servers are Debian's: what tunflow speaks of them itself, and programs."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import pytest
from bench.netlab.namespaces import SERVER4, SITE4
from bench.netlab.peers import UDP_ECHO_PORT
from bench.netlab.processes import cmdline, descendants
from bench.netlab.tunnel import shadowsocks_url
from lab_support import COUNTED_DIGEST, Contents, Tunnel, client

pytestmark = pytest.mark.lab

PASSWORD = "plugged"
WAYS = {
    "obfs http": ("obfs-server", "obfs=http", "obfs-local;obfs=http;obfs-host=www.example.com"),
    "obfs tls": ("obfs-server", "obfs=tls", "obfs-local;obfs=tls;obfs-host=www.example.com"),
    "v2ray": ("ss-v2ray-plugin", "server;path=/way;mux=0", "v2ray-plugin;path=/way;mux=0;host=www.example.com"),
    "v2ray mux": ("ss-v2ray-plugin", "server;path=/way", "v2ray-plugin;path=/way;host=www.example.com"),
    "a program by its path": (
        "obfs-server",
        "obfs=http",
        f"{shutil.which('obfs-local')};obfs=http;obfs-host=a.example",
    ),
}
WAYS = {name: way for name, way in WAYS.items() if shutil.which(way[0])}  # those whose server this Debian has
FIRST_PORT = 8490


@pytest.fixture(scope="module", autouse=True)
def servers(tunnel: Tunnel) -> Iterator[None]:
    lab = tunnel.lab
    with ExitStack() as stack:
        for port, (plugin, options, _) in enumerate(WAYS.values(), FIRST_PORT):
            argv = ["ss-server", "-s", SERVER4, "-p", str(port), "-k", PASSWORD, "-m", "aes-256-gcm"]
            server = lab.start(lab.server, [*argv, "--plugin", plugin, "--plugin-opts", options], env={"LANG": "C"})
            stack.enter_context(server).wait_listening(port)
        yield


def link(way: str) -> str:
    port = FIRST_PORT + list(WAYS).index(way)
    return f"ss://aes-256-gcm:{PASSWORD}@{SERVER4}:{port}/?plugin={quote(WAYS[way][2], safe='')}"


@pytest.mark.parametrize("way", WAYS)
def test_tcp_both_ways(tunnel: Tunnel, contents: Contents, way: str) -> None:
    script = f"curl -sS --fail http://{SITE4}/10m | sha256sum; curl -sS --fail http://site.lab/1k | wc -c"
    digest, _, size = tunnel.ok(["sh", "-c", script], server=link(way)).split()
    assert (digest, size) == (contents.medium_sha256, "1024")
    assert tunnel.ok(client("upload", SITE4, COUNTED_DIGEST, 3_000_000), server=link(way)) == "ok\n"


def test_a_program_behind_another_server(tunnel: Tunnel, contents: Contents) -> None:
    ask = ["sh", "-c", f"curl -sS --fail http://{SITE4}/10m | sha256sum"]
    for way in [way for way in WAYS if way == "v2ray mux"]:
        done = tunnel.ok(ask, server=shadowsocks_url(), options=["--server", link(way)])
        assert done.split() == [contents.medium_sha256, "-"]


def plugins_of(pid: int) -> list[int]:
    return [each for each in descendants(pid) if cmdline(each)[0].endswith("v2ray-plugin")]


def test_a_program_is_started_again_and_ends_with_the_tunnel(tunnel: Tunnel) -> None:
    for way in [way for way in WAYS if way == "v2ray mux"]:
        with tunnel.held(server=link(way)) as held:
            ask = ["curl", "-sS", "-m", "30", "-o", "/dev/null", "-w", "%{http_code}", f"http://{SITE4}/1k"]
            assert held.run(ask).stdout == "200"
            (first,) = plugins_of(held.process.pid)
            os.kill(first, signal.SIGKILL)
            assert held.run(ask).stdout == "200"
            (second,) = plugins_of(held.process.pid)
            assert second != first
            held.process.kill()  # no handler of ours runs
            deadline = time.monotonic() + 20
            while Path(f"/proc/{second}").exists():
                assert time.monotonic() < deadline
                time.sleep(0.02)
            os.kill(held.holder, signal.SIGKILL)


def test_udp_does_not_go_beside_it(tunnel: Tunnel) -> None:
    for way in list(WAYS)[:1]:
        assert tunnel.run(client("udp_sizes", SITE4, UDP_ECHO_PORT, 100), server=link(way)).returncode
