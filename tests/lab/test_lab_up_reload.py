"""Reload: another server, other names, in place; what is open goes on, and a profile that is wrong changes nothing."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from bench.netlab.namespaces import SITE4
from bench.netlab.peers import PASSWORD, start_shadowsocks_server
from bench.netlab.tunnel import shadowsocks_url
from lab_support import BIG_BYTES
from lab_system import DNS, System
from lab_uplinks import UplinkLab, until

pytestmark = pytest.mark.lab

OTHER_PORT = 8390


@pytest.fixture(scope="module")
def other_server(uplinks: UplinkLab) -> str:
    start_shadowsocks_server(uplinks, port=OTHER_PORT)
    return shadowsocks_url(port=OTHER_PORT)


def write_profile(path: Path, *servers: str, more: str = "") -> str:
    path.write_text(f'server = [{", ".join(map(repr, servers))}]\n[dns]\nmode = "{DNS}"\n{more}\n')
    path.chmod(0o600)
    return str(path)


def test_a_large_transfer_survives_reloads(uplinks: UplinkLab, system: System, other_server: str) -> None:
    expected = hashlib.sha256((uplinks.directory / "site" / "big").read_bytes()).hexdigest()
    profile = write_profile(system.directory / "home.toml", shadowsocks_url())
    system.ok("up", profile)
    command = f"curl -sS http://{SITE4}/big | sha256sum"
    with subprocess.Popen(system.host.command(["sh", "-c", command]), stdout=subprocess.PIPE, text=True) as transfer:
        until(lambda: system.status()["bytes_in"] > BIG_BYTES // 20, 20, "the transfer is under way")
        for url in (other_server, shadowsocks_url(), other_server):
            write_profile(system.directory / "home.toml", url)
            system.ok("reload")
            assert system.fetch(f"http://{SITE4}/1k") == 1024
        assert transfer.stdout is not None
        assert transfer.stdout.read().split()[0] == expected
    assert str(OTHER_PORT) in system.status()["servers"][0]


def test_new_flows_go_to_the_new_server(uplinks: UplinkLab, system: System, other_server: str) -> None:
    system.up("--kill-switch")
    system.ok("reload", "--server", other_server, "--dns", DNS, "--kill-switch")
    allowed = f"(dst port {OTHER_PORT})"
    with uplinks.spied(allowed) as elsewhere:
        assert system.fetch("http://site.lab/1k") == 1024
    assert [line for line in elsewhere if "Flags [S]" in line] == []


def test_a_wrong_profile_changes_nothing(system: System) -> None:
    system.up()
    before = system.snapshot(), system.status()["servers"]
    for servers, more, words in (
        ((), "colour = 1", "colour"),
        (("ss://nonsense",), "", "server"),
        ((), "", "no server"),
        (("ss://aes-256-gcm:x@10.66.0.2:9",), "", "cannot reach"),
        ((shadowsocks_url(),), "[tunnel]\nmtu = 12", "mtu"),
        ((shadowsocks_url(),), "[tunnel]\naddresses = ['10.200.0.1/24']", "up --replace"),
    ):
        profile = write_profile(system.directory / "wrong.toml", *servers, more=more)
        refused = system.tunflow("reload", profile)
        assert refused.returncode in {1, 2}
        assert words in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
        assert PASSWORD not in refused.stderr
    assert (system.snapshot(), system.status()["servers"]) == before
    assert system.fetch(f"http://{SITE4}/1k") == 1024


def test_a_reload_tells_what_of_a_list_is_not_understood(system: System) -> None:
    names, profile = system.directory / "set.txt", system.directory / "lists.toml"
    names.write_text("DOMAIN,a.example\n")
    write_profile(profile, shadowsocks_url(), more='[rule_sets.set]\nbehavior = "classical"\nfile = "set.txt"')
    profile.write_text(f'rules = ["RULE-SET,set,REJECT", "MATCH,PROXY"]\n{profile.read_text()}')
    system.ok("up", str(profile))
    names.write_text("DOMAIN,a.example\nUSER-AGENT,x\n")
    done = system.tunflow("reload")
    assert done.returncode == 0, done
    assert "set.txt:2: USER-AGENT is about what is encrypted here" in done.stderr


def test_reload_needs_a_tunnel_and_something_to_load(system: System) -> None:
    refused = system.tunflow("reload")
    assert refused.returncode == 1
    assert "no tunnel is up" in refused.stderr
    system.up()
    refused = system.tunflow("reload", TUNFLOW_SERVER="")
    assert refused.returncode == 2
    assert "profile" in refused.stderr


def test_kill_switch_and_routes_change_in_place(uplinks: UplinkLab, system: System) -> None:
    system.up()
    without = system.snapshot()
    system.ok("reload", "--server", shadowsocks_url(), "--dns", DNS, "--kill-switch")
    assert "tunflow" in system.run(["nft", "list", "ruleset"]).stdout
    assert system.status()["kill_switch"] is True
    system.ok("reload", "--server", shadowsocks_url(), "--dns", DNS)
    assert system.snapshot() == without


def test_what_up_was_told_of_the_host_holds_until_told_otherwise(uplinks: UplinkLab, system: System) -> None:
    """A reload does not open what `up --kill-switch` closed; what one turns is told."""
    system.up("--kill-switch", "--exclude-lan")
    during = system.snapshot()
    for _ in range(2):
        done = system.tunflow("reload", "--server", shadowsocks_url())
        assert (done.returncode, done.stderr.count("\n")) == (0, 1), done
        assert system.status()["kill_switch"] is True
        assert system.snapshot() == during  # --dns as well
    done = system.tunflow("reload", "--server", shadowsocks_url(), "--no-kill-switch")
    assert "tunflow: the kill switch is off now" in done.stderr
    assert "the kill switch is off now" in system.log()
    assert system.status()["kill_switch"] is False
    with uplinks.spied() as leaks:
        done = system.tunflow("reload", "--server", shadowsocks_url(), "--json")
        assert json.loads(done.stdout)["notes"] == ["the kill switch is on now"]
        os.kill(system.status()["pid"], signal.SIGKILL)
        until(lambda: (system.status()["status"], system.status()["restarts"]) == ("connected", 1), 20)
        assert system.status()["kill_switch"] is True
    assert leaks == []
    assert system.snapshot() == during


def test_what_only_a_start_can_say_is_no_option_of_reload(system: System) -> None:
    system.up()
    for option in (("--api", "127.0.0.1:9090"), ("--pcap", "x"), ("-v",)):
        refused = system.tunflow("reload", *option)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused
