"""`tunflow up` through a plugin that is a program: it reaches its server past the tunnel, and nothing else leaves."""

from __future__ import annotations

import shutil
import time
from urllib.parse import quote

import pytest
from bench.netlab.namespaces import SERVER4, SITE4, Process
from bench.netlab.proxy_peers import make_certificate
from lab_system import System
from lab_uplinks import UplinkLab

pytestmark = pytest.mark.lab

PORT = 8499


@pytest.mark.parametrize("program", [path for path in (shutil.which("obfs-local"),) if path])
def test_a_program_behind_the_kill_switch(uplinks: UplinkLab, system: System, program: str) -> None:
    argv = ["ss-server", "-s", SERVER4, "-p", str(PORT), "-k", "plugged", "-m", "aes-256-gcm"]
    argv += ["--plugin", "obfs-server", "--plugin-opts", "obfs=http"]
    before = system.snapshot()
    with uplinks.start(uplinks.server, argv, env={"LANG": "C"}) as server:
        server.wait_listening(PORT)
        plugin = quote(f"{program};obfs=http;obfs-host=a.example", safe="")
        link = f"ss://aes-256-gcm:plugged@{SERVER4}:{PORT}/?plugin={plugin}"
        system.ok("up", "--kill-switch", "--dns", f"tcp://{SITE4}:53", TUNFLOW_SERVER=link)
        with uplinks.spied(f"(host {SERVER4} and tcp port {PORT})") as leaks:
            assert system.fetch(f"http://{SITE4}/1k") == 1024, system.log()
            assert system.run(["dig", "+short", "+tries=1", "+timeout=30", "site.lab"]).stdout.split() == [SITE4]
        assert leaks == []
        assert uplinks.running(program) != []
        system.ok("down")
    assert uplinks.running(program) == []
    assert system.snapshot() == before


@pytest.mark.parametrize("program", [path for path in (shutil.which("ss-v2ray-plugin"),) if path])
def test_a_program_that_goes_by_quic(uplinks: UplinkLab, system: System, program: str) -> None:
    certificate, key = make_certificate(uplinks)
    argv = ["ss-server", "-s", SERVER4, "-p", str(PORT), "-k", "plugged", "-m", "aes-256-gcm", "--plugin", program]
    argv += ["--plugin-opts", f"server;mode=quic;host=proxy.lab;cert={certificate};key={key}"]
    with uplinks.start(uplinks.server, argv, env={"LANG": "C"}) as server:
        _wait_for_udp(uplinks, server)
        plugin = quote(f"{program};mode=quic;host={SERVER4};cert={certificate}", safe="")
        link = f"ss://aes-256-gcm:plugged@{SERVER4}:{PORT}/?plugin={plugin}"
        system.ok("up", "--kill-switch", "--dns", f"tcp://{SITE4}:53", TUNFLOW_SERVER=link)
        with uplinks.spied(f"(host {SERVER4} and udp port {PORT})") as leaks:
            assert system.fetch(f"http://{SITE4}/1k") == 1024, system.log() + server.output()
        assert leaks == []
        system.ok("down")


def _wait_for_udp(uplinks: UplinkLab, server: Process) -> None:
    """Wait for the plugin's port, which no connection can try."""
    deadline = time.monotonic() + 30
    while f":{PORT}" not in uplinks.server.run(["ss", "-Hlun"]).stdout:
        assert time.monotonic() < deadline, server.output()
        time.sleep(0.05)
