"""`tunflow exec`: one program in the tunnel, or around it, by its control group."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from bench.netlab.namespaces import SITE4
from bench.netlab.tunnel import shadowsocks_url
from lab_system import DNS, System
from lab_uplinks import FIRST4, UplinkLab

pytestmark = pytest.mark.lab

FETCH = ["curl", "-sS", "-4", "-m", "30", "-o", "/dev/null", "-w", "%{size_download}"]
WITH_GROUPS = ["sh", "-c", 'mount -t cgroup2 none /sys/fs/cgroup && exec "$@"', "sh"]
"""`ip netns exec` hides /sys/fs/cgroup behind a new /sys."""


@pytest.fixture
def grouped(uplinks: UplinkLab) -> Iterator[System]:
    with System(uplinks, prefix=WITH_GROUPS) as running:
        yield running


def test_one_program_goes_around(uplinks: UplinkLab, grouped: System) -> None:
    """With its names, which the host's own resolver answers it; others go on through the tunnel."""
    grouped.up()
    with uplinks.spied() as seen:
        assert grouped.ok("exec", "--bypass", "--", *FETCH, "http://site.lab/1k") == "1024"
    assert any(f"IP {FIRST4}." in line and f"{SITE4}.80: Flags [S]" in line for line in seen)
    assert any("A? site.lab" in line for line in seen)
    with uplinks.spied() as seen:
        assert grouped.ok("exec", "--", *FETCH, "http://site.lab/1k") == "1024"
        assert grouped.fetch("http://site.lab/1k") == 1024
    assert seen == []


def test_a_group_of_the_profiles_goes_around(uplinks: UplinkLab, grouped: System) -> None:
    """As a proxy on this machine must, beside what `exec --bypass` starts."""
    group = f"/tunflow-lab-{os.getpid()}"
    inside = ["sh", "-c", f'echo $$ > /sys/fs/cgroup{group}/cgroup.procs && exec "$@"', "sh"]
    grouped.run([*WITH_GROUPS, "mkdir", f"/sys/fs/cgroup{group}"])
    profile = grouped.directory / "home.toml"
    text = f"server = '{shadowsocks_url()}'\n[tunnel]\nbypass_groups = ['{group}']\n[dns]\nmode = '{DNS}'\n"
    profile.write_text(text)
    profile.chmod(0o600)
    try:
        grouped.ok("up", str(profile))
        grouped.ok("exec", "--bypass", "--", "true")
        with uplinks.spied() as seen:
            assert grouped.run([*WITH_GROUPS, *inside, *FETCH, f"http://{SITE4}/1k"]).stdout == "1024"
        assert any(f"{SITE4}.80: Flags [S]" in line for line in seen)
    finally:
        grouped.tunflow("down")
        grouped.run([*WITH_GROUPS, "rmdir", f"/sys/fs/cgroup{group}"])


def test_only_one_program_uses_it(uplinks: UplinkLab, grouped: System) -> None:
    grouped.up("--per-app")
    with uplinks.spied() as seen:
        assert grouped.ok("exec", "--", *FETCH, "http://site.lab/1k") == "1024"
    assert seen == []
    with uplinks.spied() as seen:
        assert grouped.fetch("http://site.lab/1k", "-4") == 1024
    assert any(f"{SITE4}.80: Flags [S]" in line for line in seen)


def test_exec_leaves_as_its_command(grouped: System) -> None:
    grouped.up()
    assert grouped.tunflow("exec", "--", "sh", "-c", "exit 7").returncode == 7
    assert grouped.tunflow("exec", "--", "no-such-command").returncode == 127
    grouped.ok("down")
    refused = grouped.tunflow("exec", "--", "true")
    assert (refused.returncode, "no tunnel is up" in refused.stderr) == (1, True)


def test_nothing_stays_of_it(grouped: System) -> None:
    before = grouped.snapshot()
    grouped.up()
    grouped.ok("exec", "--bypass", "--", "true")
    grouped.ok("down")
    assert grouped.snapshot() == before
    left = grouped.run([*WITH_GROUPS, "sh", "-c", "ls -d /sys/fs/cgroup/tunflow 2>/dev/null"])
    assert left.stdout == ""


def test_without_control_groups(system: System) -> None:
    """The tunnel needs none; exec says what is missing."""
    system.up()
    assert system.fetch(f"http://{SITE4}/1k") == 1024
    refused = system.tunflow("exec", "--bypass", "--", "true")
    assert refused.returncode == 2
    assert "cgroup2" in refused.stderr
