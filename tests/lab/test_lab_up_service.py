"""The service: a unit for a profile, a guard that closes the host at boot, and what systemd is told."""

from __future__ import annotations

import os
import socket
import subprocess

import pytest
from bench.netlab.namespaces import SITE4
from bench.netlab.tunnel import TUNFLOW, shadowsocks_url
from lab_system import DNS, System
from lab_uplinks import UplinkLab

from tunflow.host import systemd_unit as unit

pytestmark = pytest.mark.lab


@pytest.fixture
def profile(system: System) -> str:
    path = system.directory / "home.toml"
    text = f'server = "{shadowsocks_url()}"\n[tunnel]\nkill_switch = true\n[dns]\nmode = "{DNS}"\n'
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


def test_units_hold_no_secret(system: System, profile: str) -> None:
    units = system.ok("service", "install", profile, "--kill-switch-at-boot", "--print")
    assert f"up --foreground {profile}" in units
    assert "network-pre.target" in units
    assert system.secret not in units
    assert "lab-password" not in units


def test_install_and_remove(system: System, profile: str) -> None:
    """In a mount namespace of its own, where no systemd runs."""
    script = (
        "mount -t tmpfs none /etc/systemd; mount -t tmpfs none /run/systemd 2>/dev/null; set -e; "
        '"$0" service install "$1"; cat /etc/systemd/system/tunflow.service /etc/sysusers.d/tunflow.conf; '
        '"$0" service remove; ls /etc/systemd/system; "$0" service remove'
    )
    argv = ["unshare", "-m", "sh", "-c", script, TUNFLOW, profile]
    done = subprocess.run(system.host.command(argv), env=system.env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "CapabilityBoundingSet=CAP_NET_ADMIN" in done.stdout
    assert "no service is installed" in done.stderr


def test_wrong_profiles_are_refused(system: System) -> None:
    refused = system.tunflow("service", "install", "no-such-profile")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    path = system.directory / "open.toml"
    path.write_text("server = 'direct://'\n")
    refused = system.tunflow("service", "install", str(path), "--kill-switch-at-boot")
    assert (refused.returncode, "kill_switch" in refused.stderr) == (2, True)


def test_the_guard_closes_the_host_until_there_is_a_tunnel(uplinks: UplinkLab, system: System, profile: str) -> None:
    before = system.snapshot()
    system.ok("service", "guard", profile)
    with uplinks.spied() as leaks:
        assert system.fetch(f"http://{SITE4}/1k", timeout=0.5) == 0
        system.ok("up", profile)
        assert system.fetch(f"http://{SITE4}/1k") == 1024
    assert leaks == []
    system.ok("down")
    assert system.snapshot() == before


def test_systemd_is_told(system: System, profile: str) -> None:
    """sd_notify(3): READY=1 once connected, STOPPING=1 at the end; SIGTERM is a clean end."""
    path = system.directory / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(path))
        heard.settimeout(60)
        env = {**system.env, "NOTIFY_SOCKET": str(path)}
        argv = system.host.command([TUNFLOW, "up", "--foreground", profile])
        running = subprocess.Popen(argv, env=env, stderr=subprocess.DEVNULL)
        try:
            while heard.recv(100) != b"READY=1":
                pass  # a program on the way says something of its own
            assert system.status()["status"] == "connected"
            os.kill(system.status()["pid"], 15)
            assert heard.recv(100) == b"STOPPING=1"
            assert running.wait(60) == 0
        finally:
            running.kill()
            running.wait()


def test_the_units_rights_are_enough(uplinks: UplinkLab, profile: str) -> None:
    """The same bounding set without systemd: kill switch, reload and undoing take no more."""
    bounding = ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in unit.SET_UP)
    few_rights = ["setpriv", f"--bounding-set=-all,{bounding}", "--inh-caps=-all", "--no-new-privs"]
    with System(uplinks, prefix=few_rights) as system:
        before = system.snapshot()
        system.ok("up", profile)
        assert system.fetch("http://site.lab/1k") == 1024
        system.ok("reload")
        system.ok("down")
        assert system.snapshot() == before
