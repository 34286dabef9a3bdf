"""The units are what systemd understands, and say no more rights than needed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tunflow.host import systemd_unit as unit

TRUE = ["/bin/true"]


def settings(text: str, name: str) -> list[str]:
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{name}=")]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed: NOT RUN")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    for name, text in (
        (unit.SERVICE, unit.service(TRUE, "home", (*unit.SET_UP, *unit.DIRECT, *unit.PROCESSES))),
        (unit.GUARD, unit.guard(TRUE, "/home/me/a profile.toml")),
    ):
        path = tmp_path / name
        path.write_text(text)
        argv = ["systemd-analyze", "verify", "--man=no", str(path)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
        about_it = [line for line in (done.stdout + done.stderr).splitlines() if name in line]
        assert (done.returncode, about_it) == (0, []), done


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed: NOT RUN")
def test_its_exposure_is_low(tmp_path: Path) -> None:
    """As systemd rates it: under 5.0 is "medium" at worst; a service without a sandbox has 9.6."""
    path = tmp_path / unit.SERVICE
    path.write_text(unit.service(TRUE, "home", unit.SET_UP))
    argv = ["systemd-analyze", "security", "--offline=true", "--threshold=50", "--no-pager", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout.splitlines()[-1:] or done.stderr


def test_rights_follow_the_profile() -> None:
    (plain,) = settings(unit.service(TRUE, "home", unit.SET_UP), "CapabilityBoundingSet")
    assert "CAP_NET_ADMIN" in plain
    assert "PTRACE" not in plain
    assert "NET_RAW" not in plain
    assert settings(unit.service(TRUE, "home", unit.PROCESSES), "SystemCallFilter") == ["@system-service bpf"]


def test_the_folder_of_a_log_can_be_written_to() -> None:
    assert settings(unit.service(TRUE, "home", unit.SET_UP), "ReadWritePaths") == ["/etc /run"]
    (line,) = settings(unit.service(TRUE, "home", unit.SET_UP, ("/etc", "-/var/log")), "ReadWritePaths")
    assert line == "/etc -/var/log"


@pytest.mark.parametrize(
    ("profile", "written"),
    [
        ("home", "home"),
        ("/etc/a b.toml", '"/etc/a b.toml"'),
        ("/x/100%.toml", "/x/100%%.toml"),
        ("/x/$HOME.toml", "/x/$$HOME.toml"),
        ('/x/".toml', '"/x/\\".toml"'),
    ],
)
def test_words_are_quoted(profile: str, written: str) -> None:
    (line,) = settings(unit.service(["/usr/bin/tunflow"], profile, unit.SET_UP), "ExecStart")
    assert line == f"/usr/bin/tunflow up --foreground {written}"


def test_a_disk_with_the_program_or_the_profile_is_mounted_before() -> None:
    made = unit.guard(["/opt/tunflow/bin/tunflow"], "/home/me/home.toml")
    assert settings(made, "RequiresMountsFor") == ["/run /usr /opt/tunflow/bin/tunflow /home/me/home.toml"]
    assert settings(unit.service(["/usr/bin/tunflow"], "home", unit.SET_UP), "RequiresMountsFor") == [
        "/usr/bin/tunflow"
    ]
