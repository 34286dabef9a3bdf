"""A login page's browser knows nothing of its user."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunflow.cli.browser import browser_command, own_environment
from tunflow.errors import LocalError

URL = "http://10.0.0.1/"


def program(folder: Path, name: str) -> str:
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


def test_each_kind_gets_a_profile_of_its_own(tmp_path: Path) -> None:
    chromium, firefox, other = (program(tmp_path, name) for name in ("chromium", "firefox", "surf"))
    assert f"--user-data-dir={tmp_path}/profile" in browser_command(chromium, URL, tmp_path)
    assert browser_command(firefox, URL, tmp_path)[-3:] == ["--profile", f"{tmp_path}/profile", URL]
    assert (tmp_path / "profile").is_dir()
    assert browser_command(other, URL, tmp_path) == [other, URL]


def test_the_first_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalError, match="no browser was found"):
        browser_command(None, URL, tmp_path)
    found = program(tmp_path, "firefox-esr")
    assert browser_command(None, URL, tmp_path)[0] == found
    with pytest.raises(LocalError, match="--browser nothing: command not found"):
        browser_command("nothing", URL, tmp_path)


def test_its_files_are_in_its_folder(tmp_path: Path) -> None:
    own = own_environment({"HOME": "/home/me"}, tmp_path)
    assert own.pop("XAUTHORITY") == "/home/me/.Xauthority"
    assert all(value.startswith(str(tmp_path)) for value in own.values())
    assert "XAUTHORITY" not in own_environment({"HOME": "/home/me", "XAUTHORITY": "/run/x"}, tmp_path)
