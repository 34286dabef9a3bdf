"""`tunflow up` through a plugin that is a program: it reaches its server past the tunnel, and nothing else leaves."""

from __future__ import annotations

import shutil
from urllib.parse import quote

import pytest
from bench.netlab.namespaces import SERVER4, SITE4
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
            assert system.run(["dig", "+short", "+tries=1", "+timeout=3", "site.lab"]).stdout.split() == [SITE4]
        assert leaks == []
        system.ok("down")
    assert system.run(["pgrep", "-f", f"^{program}"]).stdout == ""
    assert system.snapshot() == before
