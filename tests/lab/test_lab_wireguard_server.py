"""`tunflow serve wg0.conf` with two clients: Debian's wireguard-go, and `tunflow run`."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from bench.netlab.namespaces import SERVER4, SITE4, Lab
from bench.netlab.processes import Process
from bench.netlab.tunnel import TUNFLOW
from lab_support import Contents

pytestmark = pytest.mark.lab

INTERFACE = f"wgc{os.getpid()}"
"""Of wireguard-go: its control socket has the interface's name, and is in one folder for all namespaces."""

PORT = 51821
INSIDE = "10.91.0.1"


def wg(what: str, given: str = "") -> str:
    return subprocess.run(["wg", what], input=given, capture_output=True, text=True, check=True).stdout.strip()


SERVER, GO, OURS = (wg("genkey") for _ in range(3)) if Path("/usr/bin/wg").exists() else ("", "", "")


@pytest.fixture
def server(lab: Lab) -> Iterator[Process]:
    config = lab.directory / "wg-serve.conf"
    config.write_text(
        f"[Interface]\nPrivateKey = {SERVER}\nAddress = {INSIDE}/24\nListenPort = {PORT}\n"
        f"[Peer]\nPublicKey = {wg('pubkey', GO)}\nAllowedIPs = 10.91.0.2/32\n"
        f"[Peer]\nPublicKey = {wg('pubkey', OURS)}\nAllowedIPs = 10.91.0.3/32\n"
    )
    with lab.start(lab.server, [TUNFLOW, "serve", "--masquerade", str(config)]) as process:
        deadline = time.monotonic() + 60
        while "serving" not in process.output():
            assert time.monotonic() < deadline, process.output()
            time.sleep(0.02)
        yield process
    assert "tunflow_serve" not in lab.server.run(["nft", "list", "ruleset"]).stdout


def peer_lines(extra: str = "") -> str:
    return f"[Peer]\nPublicKey = {wg('pubkey', SERVER)}\nAllowedIPs = 0.0.0.0/0\nEndpoint = {SERVER4}:{PORT}\n{extra}"


def test_wireguard_go_and_our_own_client(lab: Lab, server: Process, contents: Contents, tmp_path: Path) -> None:
    theirs, ours = tmp_path / "go.conf", tmp_path / "ours.conf"
    theirs.write_text(f"[Interface]\nPrivateKey = {GO}\n{peer_lines()}")
    ours.write_text(f"[Interface]\nPrivateKey = {OURS}\nAddress = 10.91.0.3/32\n{peer_lines()}")
    with ExitStack() as stack:
        stack.enter_context(lab.start(lab.client, ["wireguard-go", "-f", INTERFACE]))
        show = lab.client.command(["wg", "show", INTERFACE])
        deadline = time.monotonic() + 60
        while subprocess.run(show, capture_output=True, check=False).returncode:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        lab.client.run(["wg", "setconf", INTERFACE, str(theirs)])
        lab.client.run(["ip", "address", "add", "10.91.0.2/24", "dev", INTERFACE])
        lab.client.run(["ip", "link", "set", INTERFACE, "mtu", "1420", "up"])
        ping = ["ping", "-c", "3", "-i", "0.2", "-W", "30", INSIDE]
        assert " 0% packet loss" in lab.client.run(ping).stdout
        digest = ["sh", "-c", f"curl -sS http://{SITE4}/10m | sha256sum"]
        fetched = lab.client.run([TUNFLOW, "run", "--profile", str(ours), "--", *digest]).stdout
        assert fetched.split()[0] == contents.medium_sha256
    assert server.popen.poll() is None
