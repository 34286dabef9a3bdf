"""A program starts and stops a saved tunnel and follows its status, while another process serves it."""

from __future__ import annotations

import json

import pytest
from bench.netlab.tunnel import shadowsocks_url
from lab_support import CLIENTS, DNS
from lab_system import System, client

pytestmark = pytest.mark.lab


def run(system: System, script: str, *arguments: str) -> dict[str, object]:
    env = {"TUNFLOW_RUNTIME_DIR": system.env["TUNFLOW_RUNTIME_DIR"], "XDG_CONFIG_HOME": str(system.directory)}
    done = system.run(["env", *(f"{key}={value}" for key, value in env.items()), *client(script, *arguments)])
    assert done.returncode == 0, (done.stderr, system.log())
    return dict(json.loads(done.stdout))


def test_start_status_stop(system: System) -> None:
    before = system.snapshot()
    found = run(system, "manage", shadowsocks_url(), DNS)
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
    found = run(system, "manage", "ss://aes-256-gcm:x@10.66.0.2:1", DNS)
    assert found["error"] == "VPNConnectionError SERVER_NOT_RESPONDING"
    assert (found["status"], found["last"]) == ("DISCONNECTED", "SERVER_NOT_RESPONDING")


def test_options_and_messages_of_a_provider(system: System) -> None:
    before = system.snapshot()
    found = run(system, "message", f"{CLIENTS}/providers.py:Answers")
    assert found == {"answer": "hello 42 configured", "then": "messages is not up: nobody answers messages"}
    assert system.snapshot() == before
