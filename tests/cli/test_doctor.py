"""`tunflow doctor`: what it finds on machines that lack something."""

from __future__ import annotations

import json
import os
import time
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from tunflow.cli import doctor as module
from tunflow.cli.doctor import CHECKS, CheckResult, CheckState, doctor


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No profiles and no tunnel of whoever runs the tests."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("TUNFLOW_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.delenv("TUNFLOW_SERVER", raising=False)
    return tmp_path


def found(about: str, *names: str) -> list[CheckResult]:
    return [finding for check in CHECKS if check.__name__ in names for finding in check() if finding.about == about]


def test_json_has_every_finding(alone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = doctor(as_json=True)
    findings = json.loads(capsys.readouterr().out)
    assert {"tunflow", "run", "up", "names", "limits", "profiles", "tunnel"} <= {each["about"] for each in findings}
    assert status == int(any(each["state"] == "bad" for each in findings))


def test_the_page_for_people(alone: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    doctor(as_json=False)
    page = capsys.readouterr().out
    assert "no tunnel is up" in " ".join(page.split())
    assert max(map(len, page.splitlines())) <= 60


def test_a_run_that_fails_says_why(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(alone))
    monkeypatch.setattr(module.sys, "executable", "/bin/false")
    (finding,) = found("run", "_run")
    assert finding.state is CheckState.BAD


def test_a_link_that_is_none(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNFLOW_SERVER", "ss://aes-256-gcm:secret@127.0.0.1:1 nothing://x")
    good, bad = found("server", "_server")
    assert (good.state, bad.state) == (CheckState.GOOD, CheckState.BAD)
    assert "secret" not in good.line


def test_profiles_that_are_broken_and_that_leave_the_door_open(alone: Path) -> None:
    folder = alone / "tunflow" / "profiles"
    folder.mkdir(parents=True, mode=0o700)
    for name, text in (("broken", "nonsense = 1\n"), ("open", 'server = "ss://aes-256-gcm:secret@127.0.0.1:1"\n')):
        (folder / f"{name}.toml").write_text(text)
        (folder / f"{name}.toml").chmod(0o600)
    (broken,) = found("profiles", "_profiles")
    assert broken.state is CheckState.BAD
    assert "broken" in broken.line
    (leak,) = found("leaks", "_profiles")
    assert "open" in leak.line


def test_a_clock_before_the_installation(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not found("clock", "_clock")
    monkeypatch.setattr(time, "time", lambda: 0.0)
    (finding,) = found("clock", "_clock")
    assert finding.state is CheckState.BAD
    assert "1970" in finding.line or "clock says" in finding.line


def test_no_resolver(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = alone / "resolv.conf"
    monkeypatch.setattr(module, "RESOLV_CONF", path)
    (gone,) = found("names", "_names")
    assert gone.state is CheckState.BAD
    path.write_text("search home\n")
    (empty,) = found("names", "_names")
    assert empty.state is CheckState.NOTE
    path.write_text("nameserver 192.0.2.1\n")
    (there,) = found("names", "_names")
    assert "192.0.2.1" in there.line


def test_few_descriptors(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.resource, "getrlimit", lambda _: (64, 64))
    (finding,) = found("limits", "_descriptors")
    assert finding.state is CheckState.NOTE


def test_without_nft(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(alone))
    (finding,) = found("firewall", "_up")
    assert "nftables" in (finding.remedy or "")
    assert os.environ["PATH"] == str(alone)


def test_libraries_are_those_of_users_and_go_where_tunflow_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_is(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(module, "version", none_is)
    monkeypatch.setattr("sys.prefix", "/opt/tunflow")
    lacking = {each.about: each.remedy for check in CHECKS if check.__name__ == "_libraries" for each in check()}
    assert lacking["quic"] == "/opt/tunflow/bin/pip install 'tunflow[quic]'"
    assert not {"docs", "dev"} & set(lacking)
