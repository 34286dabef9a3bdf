"""Groups of a system-wide tunnel: what they use, choosing, and that a reload keeps the choice."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bench.netlab.namespaces import SITE4
from bench.netlab.peers import SHADOWSOCKS_PORT, start_shadowsocks_server
from bench.netlab.tunnel import shadowsocks_url
from lab_system import DNS, System
from lab_uplinks import UplinkLab, until

pytestmark = pytest.mark.lab

OTHER = 8391
DEAD = 8392
PROFILE = f"""
rules = ["DST-PORT,80,mine", "MATCH,auto"]
[servers]
one.url = "{shadowsocks_url()}"
two.url = "{shadowsocks_url(port=OTHER)}"
dead.url = "{shadowsocks_url(port=DEAD)}"
[groups]
mine = {{ type = "select", servers = ["one", "two"] }}
auto = {{ type = "url-test", servers = ["dead", "two"], url = "http://{SITE4}/1k", interval = 5 }}
[dns]
mode = "{DNS}"
"""


@pytest.fixture(scope="module", autouse=True)
def other_server(uplinks: UplinkLab) -> None:
    start_shadowsocks_server(uplinks, port=OTHER)


def groups(system: System) -> dict[str, Any]:
    return {group["name"]: group for group in json.loads(system.ok("groups", "--json"))}


def used(uplinks: UplinkLab, system: System) -> set[int]:
    """The servers' ports that a fetch goes to."""
    with uplinks.spied(allowed="(ip[0] = 0)") as packets:
        assert system.fetch(f"http://{SITE4}/1k") == 1024
    return {port for port in (SHADOWSOCKS_PORT, OTHER) if any(f".{port}:" in line for line in packets)}


def test_groups_tell_choose_and_keep(uplinks: UplinkLab, system: System) -> None:
    profile = system.directory / "groups.toml"
    profile.write_text(PROFILE)
    profile.chmod(0o600)
    system.ok("up", str(profile))
    assert groups(system)["mine"]["now"] == "one"
    assert used(uplinks, system) == {SHADOWSOCKS_PORT}
    system.ok("groups", "mine", "two")
    assert used(uplinks, system) == {OTHER}
    system.ok("reload")
    assert groups(system)["mine"]["now"] == "two"
    assert used(uplinks, system) == {OTHER}
    wrong = system.tunflow("groups", "mine", "three")
    assert wrong.returncode == 2
    assert "has no member 'three'; it has: one, two" in wrong.stderr
    # The first flow to the other group has its servers asked; the dead one is told from the one that works.
    system.run(["busybox", "nc", "-w", "1", SITE4, "81"])
    until(lambda: groups(system)["auto"]["now"] == "two", 60, "the dead server is known")
    members = {member["name"]: member for member in groups(system)["auto"]["members"]}
    assert not members["dead"]["works"]
    assert 0 < members["two"]["delay"] < 5
    words = [line.split() for line in system.ok("groups").splitlines()]
    assert any(line[0] == "two" and line[-1] == "ms" for line in words)


def test_choices_and_health_survive_a_restart_and_servers_can_be_tested(uplinks: UplinkLab, system: System) -> None:
    profile = system.directory / "groups.toml"
    profile.write_text(PROFILE)
    profile.chmod(0o600)
    system.ok("up", str(profile))
    system.ok("groups", "mine", "two")
    tested = json.loads(system.ok("groups", "test", "auto", "--json"))
    assert [(each["name"], each["works"]) for each in tested] == [("two", True), ("dead", False)]
    system.ok("down")
    system.ok("up", str(profile))
    after = groups(system)
    assert (after["mine"]["now"], after["auto"]["now"]) == ("two", "two")
    members = {member["name"]: member for member in after["auto"]["members"]}
    assert not members["dead"]["works"]
    assert members["two"]["delay"] > 0
    system.ok("down")
    profile.write_text(PROFILE.replace('["one", "two"]', '["one"]'))
    system.ok("up", str(profile))
    assert groups(system)["mine"]["now"] == "one"
    assert "there is no more: 'two' in the group 'mine', where it was chosen" in system.ok("logs")
