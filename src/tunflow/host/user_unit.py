"""The unit of a user's own service (`systemctl --user`): `tunflow listen`, which takes no root, from login on.

Its servers, which hold passwords, are in a file that its user alone may read, and not in the unit.

Read first: systemd.unit(5) (user unit search path), systemd.exec(5) (EnvironmentFile=), file-hierarchy(7).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tunflow.host.systemd_unit import command_line

USER_SERVICE = "tunflow-listen.service"
ENVIRONMENT = "listen.env"

_UNIT = """\
[Unit]
Description=tunflow: a local proxy port through the servers of {profile}
Documentation=man:tunflow-listen(1)

[Service]
Type=exec
EnvironmentFile={environment}
ExecStart={command}
Restart=on-failure
RestartSec=2
SyslogIdentifier=tunflow
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
UMask=0077

[Install]
WantedBy=default.target
"""

_POLKIT = """\
// Members of {group} may start, stop and reload tunflow's service, and nothing else of it.
polkit.addRule(function(action, subject) {{
  if (action.id == "org.freedesktop.systemd1.manage-units"
      && action.lookup("unit") == "tunflow.service"
      && ["start", "stop", "restart", "reload"].indexOf(action.lookup("verb")) >= 0
      && subject.isInGroup("{group}")) {{
    return polkit.Result.YES;
  }}
}});
"""
POLKIT_RULE = Path("/etc/polkit-1/rules.d/50-tunflow.rules")


def configuration_home() -> Path:
    """The folder of this user's settings (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def user_unit(command: Sequence[str], profile: str, environment: Path) -> str:
    """The unit that serves a local port; `command` is `tunflow listen` with its arguments."""
    path = str(environment).replace("%", "%%")
    return _UNIT.format(command=command_line(command), profile=profile.replace("%", "%%"), environment=path)


def environment_file(values: dict[str, str]) -> str:
    """The text of a file that EnvironmentFile= names; only its user may read it."""
    escaped = {name: value.replace("\\", "\\\\").replace('"', '\\"') for name, value in values.items()}
    return "".join(f'{name}="{value}"\n' for name, value in escaped.items())


def polkit_rule(group: str) -> str:
    """The rule by which members of a group start and stop the system's service; `group` is a checked name."""
    return _POLKIT.format(group=group)
