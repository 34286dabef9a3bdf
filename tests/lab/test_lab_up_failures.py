"""`up` that cannot: one line that says why, exit status 2 where it is the user's fault, and a host as it was found."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from bench.netlab.tunnel import TUNFLOW
from lab_system import DNS, System, client
from lab_uplinks import UplinkLab, until

pytestmark = pytest.mark.lab

NO_CAPABILITY = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
HIDE = 'mount -t tmpfs none {} && exec "$@"'
STEPS = [
    "tunflow.control.server:ControlServer.start",
    "tunflow.tunnel.server_backend:probe",
    "tunflow.host.network.network:HostNetwork.apply",
    "tunflow.tunnel.tunnel_interface:NetworkMonitor",
    "tunflow.tunnel.server_backend:ServerBackend._look",
]
"""Each step of `HostNetwork.apply` has its test beside it: tests/host/test_host_failures.py."""


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_fails_leaves_the_host_as_it_was(system: System, step: str) -> None:
    before = system.snapshot()
    assert failing(system, step, "raise") == 2
    assert system.snapshot() == before


@pytest.mark.parametrize("step", [STEPS[2], STEPS[4]])
def test_after_kill_9_down_leaves_the_host_as_it_was(system: System, step: str) -> None:
    before = system.snapshot()
    assert failing(system, step, "kill") == -9  # the helper's end, which follows that of the tunnel's process
    assert system.snapshot() != before
    system.ok("down")
    assert system.snapshot() == before


def failing(system: System, step: str, how: str) -> int:
    """The exit status of an `up` whose step fails or is killed."""
    argv = client("up_failing", step, how, "--dns", DNS, "--kill-switch")
    done = subprocess.run(
        system.host.command(argv), env=system.env, capture_output=True, text=True, timeout=30, check=False
    )
    assert "Traceback" not in done.stderr
    return done.returncode


def one_line(system: System, *arguments: str, prefix: tuple[str, ...] = (), status: int = 2, **env: str) -> str:
    """The one line of an `up` that ends with that status."""
    argv = system.host.command([*prefix, TUNFLOW, "up", *arguments])
    done = subprocess.run(
        argv,
        env={**system.env, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == status, done
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("tunflow: ")
    return lines[0]


def untouched(system: System) -> None:
    """No tunnel is up and nothing of one is there."""
    assert system.tunflow("status").returncode == 3
    assert "tunflow0" not in system.snapshot()


def refused(system: System, *arguments: str, prefix: tuple[str, ...] = (), status: int = 2, **env: str) -> str:
    """The same, and the host is as it was."""
    before = system.snapshot()
    line = one_line(system, *arguments, prefix=prefix, status=status, **env)
    assert system.snapshot() == before
    return line


@pytest.mark.parametrize("where", [(), ("--foreground",)], ids=["spawned", "foreground"])
def test_without_the_right(system: System, where: tuple[str, ...]) -> None:
    assert "CAP_NET_ADMIN" in refused(system, *where, prefix=tuple(NO_CAPABILITY))


def test_without_tun(system: System) -> None:
    prefix = ("unshare", "-m", "sh", "-c", HIDE.format("/dev/net"), "sh")
    assert "/dev/net/tun" in refused(system, prefix=prefix)


def test_without_nftables(system: System) -> None:
    """Only what needs it needs it."""
    prefix = ("unshare", "-m", "sh", "-c", HIDE.format("/usr/sbin"), "sh")
    assert "nft" in refused(system, "--kill-switch", prefix=prefix)


def test_foreign_state_file(system: System) -> None:
    state = system.directory / "run" / "host.json"
    state.parent.mkdir(mode=0o700, exist_ok=True)
    state.write_text('{"tunflow": 99}')
    assert str(state) in refused(system)
    assert system.tunflow("down").returncode == 2
    assert state.read_text() == '{"tunflow": 99}'
    state.unlink()


def test_device_name_is_taken(system: System) -> None:
    system.run(["ip", "tuntap", "add", "dev", "tunflow0", "mode", "tun"])
    try:
        assert "tunflow0" in refused(system)
    finally:
        system.run(["ip", "link", "del", "tunflow0"])


def test_wrong_profile(system: System) -> None:
    profile = Path(system.directory / "home.toml")
    for text, words in (
        ("colour = 1", ("home.toml:1", "colour")),
        ("server = 7", ("home.toml:1", "server")),
        ("name = 'x'", ("home.toml", "no server")),
        ("server = ['ss://secret']", ("home.toml:1",)),
        ("server = ['direct://']\n[tunnel]\nkill_switch = 'yes'", ("home.toml:3", "kill_switch", "true or false")),
        ("server = ['direct://']\n[tunnel]\nincluded_routes = ['10.0.0.0/99']", ("home.toml:3", "included_routes")),
        ("server = [", ("home.toml", "TOML")),
    ):
        profile.write_text(text)
        line = one_line(system, str(profile))
        assert all(word in line for word in words), line
        assert "secret" not in line
    untouched(system)


def test_wrong_command_line(system: System) -> None:
    for arguments, words in (
        (["no-such-profile"], "no-such-profile"),
        (["./no-such-file.toml"], "no-such-file.toml"),
        (["--server", "gopher://x"], "ss://"),
        (["--dns", "carrier-pigeon"], "--dns"),
        (["--gateway", "eth77"], "eth77"),
        (["--colour"], "--colour"),
    ):
        assert words in one_line(system, *arguments)
    untouched(system)


def test_no_server_at_all(system: System) -> None:
    assert "--server" in refused(system, TUNFLOW_SERVER="")


def test_server_that_refuses_and_that_is_not_there(uplinks: UplinkLab, system: System) -> None:
    assert "refused" in refused(system, "--server", "ss://aes-256-gcm:x@10.66.0.2:9", status=1)
    assert "nowhere.lab" in refused(system, "--server", "ss://aes-256-gcm:x@nowhere.lab:9", status=1)


def test_down_while_it_connects(uplinks: UplinkLab, system: System) -> None:
    """A server that never answers: `down` does not wait for it, and both say what happened."""
    before = system.snapshot()
    uplinks.server.run(["ip", "route", "add", "blackhole", "10.99.0.1"])
    argv = system.host.command([TUNFLOW, "up", "--server", "ss://aes-256-gcm:x@10.99.0.1:9"])
    starting = subprocess.Popen(argv, env=system.env, stderr=subprocess.PIPE, text=True)
    try:
        until(lambda: system.tunflow("status").returncode == 1)
        system.ok("down")
        assert starting.wait(60) == 1
        assert starting.stderr is not None
        assert "taken down" in starting.stderr.read()
    finally:
        starting.kill()
        starting.communicate()
        uplinks.server.run(["ip", "route", "del", "blackhole", "10.99.0.1"])
    assert system.snapshot() == before


def test_runtime_directory_of_somebody_else(system: System) -> None:
    path = system.directory / "open"
    path.mkdir()
    path.chmod(0o777)
    assert str(path) in refused(system, TUNFLOW_RUNTIME_DIR=str(path))
    os.symlink("/tmp", system.directory / "link")  # noqa: PTH211
    assert "link" in refused(system, TUNFLOW_RUNTIME_DIR=str(system.directory / "link"))


def test_down_of_another_directory_leaves_a_running_tunnel_alone(system: System) -> None:
    system.up()
    before = system.snapshot()
    done = system.tunflow("down", TUNFLOW_RUNTIME_DIR=str(system.directory / "elsewhere"))
    assert done.returncode == 2
    assert f"TUNFLOW_RUNTIME_DIR={system.directory / 'run'} tunflow down" in done.stderr
    assert system.snapshot() == before
    assert system.tunflow("up", "--dns", DNS, TUNFLOW_RUNTIME_DIR=str(system.directory / "elsewhere")).returncode == 2
    assert system.snapshot() == before


@pytest.mark.parametrize(("hook", "names"), [("input", ()), ("output", ("--dns", "off"))], ids=["in", "out"])
def test_a_firewall_that_drops_the_device_is_told(system: System, hook: str, names: tuple[str, ...]) -> None:
    direction = {"input": "iifname", "output": "oifname"}[hook]
    rules = f"table inet wall {{ chain {hook} {{ type filter hook {hook} priority 0; {direction} tunflow0 drop; }}; }}"
    system.up(*names)
    assert system.tunflow("status").returncode == 0
    system.run(["sh", "-c", f"echo '{rules}' | nft -f -"])
    try:
        until(lambda: system.tunflow("status").returncode == 1)
        (trouble,) = system.status()["troubles"]
        assert "nothing is heard of what this machine sends into tunflow0: its firewall drops it" in trouble["what"]
    finally:
        system.run(["nft", "delete table inet wall"])
    until(lambda: system.tunflow("status").returncode == 0)
