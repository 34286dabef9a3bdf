"""On-demand rules on a host that changes networks: the tunnel comes and goes by itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.netlab.namespaces import SERVER4, SITE4, ip
from bench.netlab.tunnel import shadowsocks_url
from lab_support import CLIENTS, DNS
from lab_system import System
from lab_uplinks import UplinkLab, until
from test_lab_up_leaks import PROBED

pytestmark = pytest.mark.lab
OFFICE = "10.99.0.1"
"""Only the first router has it: a page there answers in "the office", where no tunnel is wanted."""
PROFILE = f"""
server = "{shadowsocks_url()}"
[dns]
mode = "{DNS}"
[on_demand]
rules = [
  {{ action = "disconnect", interface_type = "ethernet", probe_url = "http://{OFFICE}:8099/" }},
  {{ action = "connect" }},
]
"""


@pytest.fixture
def office(uplinks: UplinkLab) -> Iterator[None]:
    router = uplinks.routers[0]
    ip("-n", uplinks.routers[1].name, "route", "add", "unreachable", OFFICE)
    page = uplinks.directory / "office"
    page.mkdir(exist_ok=True)
    (page / "index.html").write_text("office")
    with router.addressed(OFFICE):
        server = uplinks.start(router, ["busybox", "httpd", "-f", "-p", f"{OFFICE}:8099", "-h", str(page)])
        server.wait_listening(8099)
        yield
        server.stop()
    ip("-n", uplinks.routers[1].name, "route", "del", "unreachable", OFFICE)


@pytest.fixture
def profile(system: System) -> Path:
    path = system.directory / "travel.toml"
    path.write_text(PROFILE)
    path.chmod(0o600)
    return path


def test_the_tunnel_follows_the_network(system: System, uplinks: UplinkLab, office: None, profile: Path) -> None:
    before = system.snapshot()
    system.ok("up", "--on-demand", str(profile))
    status = system.status()
    assert (status["status"], status["device"]) == ("disconnected", None)
    assert status["on_demand"] == {"action": "disconnect", "rule": 1}
    assert system.snapshot() == before
    assert system.fetch(f"http://{SITE4}/1k") == 1024

    for _ in range(2):
        uplinks.use_uplink(2)
        until(lambda: system.facts()["status"] == "connected", 60, "connected away from the office")
        assert system.status()["device"] == "tunflow0"
        with uplinks.spied() as leaks:
            assert system.fetch("http://site.lab/1k") == 1024
        assert leaks == []

        uplinks.use_uplink(1)
        until(lambda: system.facts()["status"] == "disconnected", 60, "disconnected in the office")
        assert system.snapshot() == before
    system.ok("down")
    assert system.snapshot() == before


def test_a_server_that_is_not_there_yet(system: System, uplinks: UplinkLab, profile: Path) -> None:
    """The tunnel is wanted, its server does not answer: the process stays and goes on trying."""
    router = uplinks.routers[0].name
    ip("-n", router, "route", "add", "unreachable", SERVER4)
    try:
        system.ok("up", "--on-demand", str(profile))
        assert system.status()["status"] != "connected"
        assert system.status()["on_demand"] == {"action": "connect", "rule": 2}
    finally:
        ip("-n", router, "route", "del", "unreachable", SERVER4)
    until(lambda: system.facts()["status"] == "connected", 20, "connected once the server is there")


CLOSED = PROFILE.replace("[dns]", "[tunnel]\nkill_switch = true\n[dns]")


def test_the_kill_switch_is_on_while_a_tunnel_cannot_connect(
    system: System, uplinks: UplinkLab, office: None, profile: Path
) -> None:
    before = system.snapshot()
    profile.write_text(CLOSED)
    router = uplinks.routers[1].name
    system.ok("up", "--on-demand", str(profile))
    assert system.snapshot() == before  # no tunnel is wanted in the office
    ip("-n", router, "route", "add", "unreachable", SERVER4)
    try:
        uplinks.use_uplink(2)
        until(lambda: "nothing goes out until it is (kill switch)" in system.log(), what="it cannot connect")
        assert system.status()["status"] == "connecting"
        assert system.status()["kill_switch"] is True
        with uplinks.spied() as leaks:
            tries = system.log().count("not connected")
            until(lambda: (system.run(["curl", "-m", "0.3", f"http://{SITE4}/1k"]).returncode == 0)
                  or system.log().count("not connected") > tries)  # fmt: skip
            assert system.run(["curl", "-m", "0.3", f"http://{SITE4}/1k"]).returncode != 0
        assert [line for line in leaks if not any(f"? {name}" in line for name in PROBED)] == []
        uplinks.use_uplink(1)
        until(lambda: system.facts()["status"] == "disconnected", what="disconnected in the office")
        assert system.snapshot() == before
        uplinks.use_uplink(2)
    finally:
        ip("-n", router, "route", "del", "unreachable", SERVER4)
    until(lambda: system.facts()["status"] == "connected", 90, "connected once the server is there")
    assert system.fetch(f"http://{SITE4}/1k") == 1024
    system.ok("down")
    uplinks.use_uplink(1)
    assert system.snapshot() == before


def test_the_kill_switch_is_on_when_a_tunnel_ends_by_itself(
    system: System, uplinks: UplinkLab, office: None, profile: Path
) -> None:
    profile.write_text(CLOSED)
    uplinks.use_uplink(2)
    before = system.snapshot()
    system.ok("up", "--on-demand", str(profile))
    with uplinks.spied() as leaks:
        assert system.fetch(f"http://{SITE4}/1k") == 1024
        ip("-n", system.host.name, "link", "del", "tunflow0")
        system.run(
            ["curl", "-m", "2", "--retry", "5", "--retry-all-errors", "--retry-delay", "0", f"http://{SITE4}/1k"]
        )
        until(lambda: "is gone" in system.log() and system.facts()["status"] == "connected", what=system.log())
        assert system.fetch(f"http://{SITE4}/1k") == 1024
    assert [line for line in leaks if not any(f"? {name}" in line for name in PROBED)] == []
    system.ok("down")
    assert system.snapshot() == before


def test_without_rules_there_is_nothing_to_follow(system: System) -> None:
    refused = system.tunflow("up", "--on-demand")
    assert refused.returncode == 2
    assert "on_demand" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_a_provider_on_demand_and_a_killed_process(system: System, uplinks: UplinkLab, office: None) -> None:
    """What comes and goes may be a provider's tunnel; killed, it leaves nothing that `down` does not take back."""
    before = system.snapshot()
    path = system.directory / "travel.toml"
    rules = PROFILE.partition("[dns]")[2]
    path.write_text(f'provider = "{CLIENTS}/providers.py:Carry"\n[dns]{rules}')
    path.chmod(0o600)
    system.ok("up", "--on-demand", str(path))
    for _ in range(2):
        uplinks.use_uplink(2)
        until(lambda: system.facts()["status"] == "connected", 60, system.log())
        assert system.fetch("http://site.lab/1k") == 1024
        uplinks.use_uplink(1)
        until(lambda: system.facts()["status"] == "disconnected", 60, system.log())
    uplinks.use_uplink(2)
    until(lambda: system.facts()["status"] == "connected", 60, system.log())
    os.kill(system.status()["pid"], signal.SIGKILL)
    until(lambda: system.facts()["status"] == "connected" and system.facts()["restarts"] == 1, 20, system.log())
    assert system.fetch("http://site.lab/1k") == 1024
    os.kill(system.status()["pid"], signal.SIGKILL)
    uplinks.use_uplink(1)
    until(lambda: system.facts()["restarts"] == 2 and system.facts()["status"] == "disconnected", 20, system.log())
    until(lambda: "tunflow0" not in system.snapshot(), 60, system.log())
    system.ok("down")
    assert system.snapshot() == before
