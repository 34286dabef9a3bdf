"""Who runs a system-wide tunnel: an unprivileged user; and what becomes of the host when that process is killed."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from bench.netlab.namespaces import SITE4
from bench.netlab.tunnel import shadowsocks_url
from lab_system import DNS, System
from lab_uplinks import until

import tunflow

pytestmark = pytest.mark.lab

WHY_KEPT = "from tunflow.host.rights.privileges import why_kept; print(why_kept())"
"""Asked by a process of its own: what can be read depends on where it imports from."""
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
OF_OTHERS = ("tunflow.screens", "tunflow.demo", "tunflow.host.macos")
"""Of commands that show something, and of another system."""
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


SERVES = ("api", "cli", "control", "dataplane", "dns", "hosting", "loop", "names", "outbound", "protocols", "tunnel")
"""Folders of which the process that serves a tunnel may load more while it serves."""

LOADS = """
import importlib, sys
import tunflow.cli.supervised, tunflow.tunnel.server_backend
from tunflow.host.rights import privileges
if privileges.why_kept() is None:
    privileges.drop([privileges.CAP_NET_ADMIN])
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def loaded_later() -> set[str]:
    """The modules of tunflow that functions import when they are called, but for those of other commands, and the ways
    out, which are loaded when a server is first used."""
    outbounds = Path(tunflow.__file__).with_name("protocols").glob("*/outbound.py")
    found = {f"tunflow.protocols.{path.parent.name}.outbound" for path in outbounds}
    for folder in SERVES:
        files = Path(tunflow.__file__).with_name(folder).rglob("*.py")
        trees = [ast.parse(path.read_text()) for path in files if path.parent.name != "commands"]
        functions = [each for tree in trees for each in ast.walk(tree) if isinstance(each, FUNCTIONS)]
        inner = [each for function in functions for each in ast.walk(function) if isinstance(each, ast.ImportFrom)]
        found |= {each.module for each in inner if each.module is not None}
    return {name for name in found if name.startswith("tunflow.") and not name.startswith(OF_OTHERS)}


def test_what_is_loaded_later_can_be_loaded_without_root() -> None:
    modules = loaded_later()
    assert {"tunflow.tunnel.filtering", "tunflow.tunnel.compile", "tunflow.names.quic"} <= modules
    done = subprocess.run([sys.executable, "-c", LOADS, *sorted(modules)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


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
