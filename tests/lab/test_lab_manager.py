"""A program starts and stops a saved tunnel and follows its status, while another process serves it."""

from __future__ import annotations

import json

import pytest
from bench.netlab.tunnel import shadowsocks_url
from lab_support import DNS
from lab_system import System, client

pytestmark = pytest.mark.lab


def manage(system: System, link: str) -> dict[str, object]:
    env = {"TUNFLOW_RUNTIME_DIR": system.env["TUNFLOW_RUNTIME_DIR"], "XDG_CONFIG_HOME": str(system.directory)}
    done = system.run(["env", *(f"{key}={value}" for key, value in env.items()), *client("manage", link, DNS)])
    assert done.returncode == 0, (done.stderr, system.log())
    return dict(json.loads(done.stdout))


def test_start_status_stop(system: System) -> None:
    before = system.snapshot()
    found = manage(system, shadowsocks_url())
    assert found["error"] is None
    assert found["status"] == "CONNECTED"
    assert str(found["since"]).startswith("20")
    seen = found["seen"]
    assert isinstance(seen, list)
    assert seen[0] == "DISCONNECTED"
    assert seen[-1] == "DISCONNECTED"
    assert "CONNECTED" in seen
    assert (found["last"], found["after"]) == (None, "INVALID")
    assert system.snapshot() == before


def test_a_server_that_is_not_there(system: System) -> None:
    found = manage(system, "ss://aes-256-gcm:x@10.66.0.2:1")
    assert found["error"] == "VPNConnectionError SERVER_NOT_RESPONDING"
    assert (found["status"], found["last"]) == ("DISCONNECTED", "SERVER_NOT_RESPONDING")
