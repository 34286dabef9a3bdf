"""A user's own service: its unit, and its servers where nobody else reads them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tunflow.cli import main
from tunflow.cli.stderr import is_journal
from tunflow.host import user_unit

LINK = "socks5://me:secret%22%5C@192.0.2.1:1080"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without a systemd of his own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    (tmp_path / "home.toml").write_text(f'server = "{LINK}"\n')
    return tmp_path


def test_install_and_remove(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["service", "install", str(home / "home.toml"), "--user", "--listen", "127.0.0.1:1099"]) == 0
    assert "nothing enabled" in capsys.readouterr().err
    unit = home / "config" / "systemd" / "user" / "tunflow-listen.service"
    environment = home / "config" / "tunflow" / "listen.env"
    assert environment.read_text() == f'TUNFLOW_SERVER="{LINK}"\n'
    assert environment.stat().st_mode & 0o777 == 0o600
    text = unit.read_text()
    assert "secret" not in text
    assert "listen 127.0.0.1:1099\n" in text
    assert f"EnvironmentFile={environment}\n" in text
    if shutil.which("systemd-analyze") is not None:
        argv = ["systemd-analyze", "verify", "--user", "--man=no", str(unit)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert unit.name not in done.stdout + done.stderr
    assert main(["service", "remove", "--user", "--json"]) == 0
    assert str(unit) in capsys.readouterr().out
    assert not unit.exists()
    assert not environment.exists()
    assert main(["service", "remove", "--user"]) == 0


@pytest.mark.parametrize(
    ("text", "options", "line"),
    [
        (f'server = "{LINK}"\nrules = ["MATCH,DIRECT"]\n', [], "home.toml:2: tunflow listen has no rules"),
        ("enabled = true\n", [], "expected server"),
        (f'server = "{LINK}"\n', ["--kill-switch-at-boot"], "--user is a proxy port"),
        (f'server = "{LINK}"\n', ["--group", "wheel"], "--user is a proxy port"),
    ],
)
def test_what_it_cannot_be(
    home: Path, capsys: pytest.CaptureFixture[str], text: str, options: list[str], line: str
) -> None:
    (home / "home.toml").write_text(text)
    assert main(["service", "install", str(home / "home.toml"), "--user", *options]) == 2
    said = capsys.readouterr().err
    assert line in said
    assert said.count("\n") == 1


def test_who_may_start_the_systems_service(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rule = user_unit.polkit_rule("wheel")
    assert 'subject.isInGroup("wheel")' in rule
    assert '"tunflow.service"' in rule
    assert main(["service", "install", str(home / "home.toml"), "--listen", "127.0.0.1:1"]) == 2
    assert "--listen goes with --user" in capsys.readouterr().err


def test_lines_for_the_journal(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """They begin with a level, where stderr is the journal's and not merely named after it."""
    monkeypatch.setenv("JOURNAL_STREAM", "1:1")
    assert not is_journal()
    there = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{there.st_dev}:{there.st_ino}")
    monkeypatch.setattr("sys.stderr", os.fdopen(os.dup(2), "w"))
    assert is_journal()
    assert main(["nonsense"]) == 2
    assert capfd.readouterr().err.startswith("<3>tunflow: there is no command")
