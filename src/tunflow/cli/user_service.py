"""`tunflow service install --user`: a local proxy port from login on, by the user's own systemd."""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tunflow.cli.process import SERVER_VARIABLE
from tunflow.cli.stderr import say
from tunflow.errors import LocalError
from tunflow.host import user_unit
from tunflow.profiles.profile import Profile
from tunflow.profiles.store import load_profile


def install_for_user(options: argparse.Namespace, command: Sequence[str]) -> int:
    """Write the unit and its servers, and enable it; the exit status. Raises LocalError."""
    if options.kill_switch_at_boot or options.group:
        raise LocalError("--user is a proxy port without rights: --kill-switch-at-boot and --group are the system's")
    profile = load_profile(options.profile)
    servers = _servers(profile)
    home = user_unit.configuration_home()
    environment = home / "tunflow" / user_unit.ENVIRONMENT
    listen = [*command, "listen", options.listen] if options.listen else [*command, "listen"]
    text = user_unit.user_unit(listen, profile.name, environment)
    if options.print:
        print(json.dumps({"files": {str(_unit_path()): text}}, indent=2) if options.json else text, end="")  # noqa: T201
        return 0
    _write(environment, user_unit.environment_file({SERVER_VARIABLE: " ".join(servers)}), 0o600)
    _write(_unit_path(), text, 0o644)
    enabled = _systemctl("daemon-reload") and _systemctl("enable", user_unit.USER_SERVICE)
    how = f"it starts at the next login, or now by: systemctl --user start {user_unit.USER_SERVICE}"
    line = f"installed: {how}" if enabled else f"written: {_unit_path()}; no systemd of this user runs: nothing enabled"
    _told(
        options, line, files=[str(_unit_path()), str(environment)], enabled=[user_unit.USER_SERVICE] if enabled else []
    )
    return 0


def remove_for_user(options: argparse.Namespace) -> int:
    """Stop it and delete its files; the exit status. Raises LocalError."""
    environment = user_unit.configuration_home() / "tunflow" / user_unit.ENVIRONMENT
    there = [path for path in (_unit_path(), environment) if path.exists()]
    if _unit_path() in there:
        _systemctl("disable", "--now", user_unit.USER_SERVICE)
    for path in there:
        try:
            path.unlink()
        except OSError as error:
            raise LocalError(f"{path} cannot be removed: {error.strerror}") from None
    if there:
        _systemctl("daemon-reload")
    _told(options, "removed" if there else "no service of this user is installed", removed=[*map(str, there)])
    return 0


def _servers(profile: Profile) -> list[str]:
    """The links of the profile's servers. Raises LocalError for one that a proxy port cannot be."""
    for key, value in (("provider", profile.provider), ("rules", profile.rules), ("apps", profile.apps)):
        if value:
            raise LocalError(f"{profile.at(key)}: tunflow listen has no {key}: a service of the system has (no --user)")
    if not profile.server:
        raise LocalError(f"{profile.at('server')}: expected server, which tunflow listen goes through")
    return [each.text for each in profile.server]


def _unit_path() -> Path:
    return user_unit.configuration_home() / "systemd" / "user" / user_unit.USER_SERVICE


def _write(path: Path, text: str, mode: int) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode)
        path.chmod(mode)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise LocalError(f"{path} cannot be written: {error.strerror}") from None


def _systemctl(*arguments: str) -> bool:
    """Return True if the user's manager did it."""
    try:
        argv = ["systemctl", "--user", "--quiet", *arguments]
        return subprocess.run(argv, capture_output=True, timeout=60, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _told(options: argparse.Namespace, line: str, **facts: object) -> None:
    if options.json:
        print(json.dumps(facts, indent=2))  # noqa: T201 - this is the command's output
    else:
        say(line)
