"""The record of what was changed on the host, written before it is changed.

It is what `down` works from when the process that made the changes is gone. Rules:
- mode 0600, below /run, which a reboot empties along with everything else that is recorded;
- written to a new file, synced and renamed: there is a whole old or a whole new one, whenever the power fails;
- a file that is not ours, damaged or of a later version is refused by one line, and nothing is touched.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunflow.addresses import NotAnAddress, ip_address
from tunflow.errors import LocalError
from tunflow.host.files import replace_file
from tunflow.host.resolvers import resolvers
from tunflow.single_values import json_value

STATE_FILE = Path("/run/tunflow/host.json")
VERSION = 1
_MAXIMUM_SIZE = 16 << 20
_REMEDY = "move it away, and undo what it names by hand (docs/up.md)"


@dataclass(slots=True)
class StateRecord:
    """What was changed, and by whom: process `pid`, which started at `started` (clock ticks since boot)."""

    pid: int
    started: int
    device: str
    table: int
    has_routes: bool = False
    has_firewall: bool = False
    kill_switch: bool = False
    addresses: list[str] = field(default_factory=list)
    """That the device has or had: connections may still have them."""
    sysctls: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Name below /proc/sys/net: value before, value set."""
    resolver: dict[str, Any] = field(default_factory=dict)
    """Method of `host.resolver…`: what it needs to restore what was."""

    @property
    def is_running(self) -> bool:
        """True if the process that made the changes is still there, and is another than this one."""
        return self.pid != os.getpid() and start_time(self.pid) == self.started


def new_record(device: str, table: int) -> StateRecord:
    """A record of nothing yet, in the name of this process."""
    return StateRecord(pid=os.getpid(), started=start_time(os.getpid()) or 0, device=device, table=table)


def start_time(pid: int) -> int | None:
    """When process `pid` started, in clock ticks since boot (proc_pid_stat(5), field 22); None when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])  # one that only waits for its parent does nothing any more


def save(record: StateRecord, path: Path) -> None:
    """Write `record` so that it survives us. Raises LocalError."""
    text = json.dumps({"tunflow": VERSION, **{name: getattr(record, name) for name in StateRecord.__slots__}}, indent=1)
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        replace_file(path, text.encode(), 0o600)
    except OSError as error:
        raise LocalError(f"{path} cannot be written: {error.strerror}; nothing is changed without it") from None


def load(path: Path) -> StateRecord | None:
    """What `path` records; None where there is no such file. Raises LocalError."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_MAXIMUM_SIZE)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise LocalError(f"{path} cannot be read: {reason}: expected what tunflow recorded; {_REMEDY}") from None
    try:
        values = json_value(text)
    except ValueError:
        raise LocalError(f"{path} is damaged: expected what tunflow recorded; {_REMEDY}") from None
    return _parse(values, path)


def remove(path: Path) -> None:
    """Forget. Raises LocalError."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise LocalError(f"{path} cannot be removed: {error.strerror}") from None


_FIELDS: dict[str, type] = {
    "pid": int,
    "started": int,
    "device": str,
    "table": int,
    "has_routes": bool,
    "has_firewall": bool,
    "kill_switch": bool,
    "addresses": list,
    "sysctls": dict,
    "resolver": dict,
}


def _parse(values: object, path: Path) -> StateRecord:
    if not isinstance(values, dict) or not isinstance(values.get("tunflow"), int):
        raise LocalError(f"{path} is no record of tunflow's; {_REMEDY}")
    version = values.pop("tunflow")
    if version != VERSION:
        raise LocalError(f"{path} has version {version}, and this tunflow knows {VERSION}: use the one that wrote it")
    sound = values.keys() == _FIELDS.keys() and all(type(values[name]) is kind for name, kind in _FIELDS.items())
    sound = sound and all(_is_address(text) for text in values["addresses"])
    sound = sound and all(_is_sysctl(name, change) for name, change in values["sysctls"].items())
    if not sound or not resolvers.is_sound(values["resolver"]):
        raise LocalError(f"{path} is damaged: expected what tunflow recorded; {_REMEDY}")
    values["sysctls"] = {name: (old, ours) for name, (old, ours) in values["sysctls"].items()}
    return StateRecord(**values)


def _is_address(text: object) -> bool:
    if not isinstance(text, str):
        return False
    try:
        ip_address(text)
    except NotAnAddress:
        return False
    return True


def _is_sysctl(name: str, change: object) -> bool:
    """Return True if it is a change that we make: nothing outside of /proc/sys/net/ipv4 and ipv6 is ever written."""
    parts = name.split("/")
    return (
        parts[0] in ("ipv4", "ipv6")
        and ".." not in parts
        and isinstance(change, list)
        and len(change) == 2
        and all(isinstance(value, str) for value in change)
    )
