"""Who runs a system-wide tunnel: an unprivileged user; and what becomes of the host when that process is killed."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from bench.netlab.namespaces import SITE4
from bench.netlab.tunnel import shadowsocks_url
from lab_system import DNS, System
from lab_uplinks import until

pytestmark = pytest.mark.lab

WHY_KEPT = "from tunflow.host.rights.privileges import why_kept; print(why_kept())"
"""Asked by a process of its own: what can be read depends on where it imports from."""
CAP_NET_ADMIN = 1 << 12
CAP_SYS_PTRACE = 1 << 19


def facts(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def mapped(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


def test_root_is_let_go_of(system: System) -> None:
    system.up()
    for pid in (system.status()["pid"], system.status()["helper"]):
        assert "pydantic_core" not in mapped(pid)  # what reads profiles ended with reading
        assert "_sodium" not in mapped(pid)
    process = facts(system.status()["pid"])
    asked = system.run([sys.executable, "-c", WHY_KEPT]).stdout.strip()
    if asked != "None":  # this installation lies where only root can read it
        assert asked in system.log()
        return
    assert "0" not in process["Uid"].split()
    assert "0" not in process["Gid"].split()
    assert process["Groups"] == ""
    assert int(process["CapEff"], 16) == int(process["CapPrm"], 16) == CAP_NET_ADMIN
    assert process["NoNewPrivs"] == "1"


def test_rules_about_programs_keep_what_they_take(system: System) -> None:
    profile = system.directory / "apps.toml"
    server = f"[servers.FAR]\nurl = '{shadowsocks_url()}'\n[dns]\nmode = '{DNS}'\n"
    profile.write_text(f"rules = ['PROCESS-NAME,curl,FAR', 'MATCH,REJECT']\n{server}")
    profile.chmod(0o600)
    system.ok("up", str(profile))
    assert int(facts(system.status()["pid"])["CapEff"], 16) & CAP_SYS_PTRACE
    assert system.fetch(f"http://{SITE4}/1k") == 1024
    assert system.run(["busybox", "wget", "-q", "-T", "2", "-O", "-", f"http://{SITE4}/1k"]).returncode != 0


def test_rules_about_programs_cannot_come_later(system: System) -> None:
    system.up()
    profile = system.directory / "apps.toml"
    profile.write_text(f"server = '{shadowsocks_url()}'\nrules = ['PROCESS-NAME,curl,DIRECT', 'MATCH,PROXY']\n")
    refused = system.tunflow("reload", str(profile))
    assert refused.returncode == 2
    assert "--replace" in refused.stderr


def test_both_processes_killed(system: System) -> None:
    before = system.snapshot()
    system.up()
    system.kill()
    assert "left changes behind" in system.tunflow("status").stdout
    system.ok("down")
    assert system.snapshot() == before


def test_sigterm_takes_it_down(system: System) -> None:
    before = system.snapshot()
    system.up()
    pid = system.status()["pid"]
    os.kill(pid, signal.SIGTERM)
    until(lambda: system.tunflow("status").returncode == 3)
    until(lambda: not Path(f"/proc/{pid}").exists() or facts(pid)["State"].startswith("Z"))
    assert system.snapshot() == before


def test_a_process_that_was_stopped_is_killed_by_down(system: System) -> None:
    """It holds the lock, its socket takes connections, and it never answers."""
    before = system.snapshot()
    system.up()
    os.kill(system.status()["pid"], signal.SIGSTOP)
    system.ok("down")
    assert system.snapshot() == before
