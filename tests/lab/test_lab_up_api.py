"""The API of a system-wide tunnel: it tells of its flows, and goes when the tunnel goes."""

from __future__ import annotations

import json

import pytest
from bench.netlab.namespaces import SITE4
from lab_system import System

pytestmark = pytest.mark.lab

PORT = 9797
WHERE = f"http://127.0.0.1:{PORT}"


def asked(system: System, path: str) -> dict[str, object]:
    return dict(json.loads(system.run(["curl", "-sS", "--max-time", "30", f"{WHERE}{path}"]).stdout))


def test_it_tells_of_flows_and_ends_with_the_tunnel(system: System) -> None:
    system.up("--api", f"127.0.0.1:{PORT}")
    assert str(asked(system, "/version")["version"]).startswith("tunflow ")
    assert system.fetch(f"http://{SITE4}/1k") == 1024
    found = asked(system, "/connections")
    assert int(str(found["downloadTotal"])) >= 1024
    assert system.ok("web", "--print").strip() == f"{WHERE}/ui/"
    assert system.status()["api"] == WHERE
    system.ok("reload", "--server", "block://")
    assert "proxies" in asked(system, "/proxies")
    system.ok("down")
    assert system.run(["curl", "-sS", "--max-time", "5", f"{WHERE}/version"]).returncode != 0


def test_without_it_there_is_no_page(system: System) -> None:
    system.up()
    refused = system.tunflow("web", "--print")
    assert refused.returncode == 2
    assert "--api" in refused.stderr


def test_an_address_for_others_needs_a_secret(system: System) -> None:
    refused = system.tunflow("up", "--server", "block://", "--api", f"0.0.0.0:{PORT}")
    assert refused.returncode == 2
    assert "TUNFLOW_API_SECRET" in refused.stderr
    assert refused.stderr.count("\n") == 1
