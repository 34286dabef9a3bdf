"""Asks a service on the system bus by busctl(1), systemd's own: no library of D-Bus is needed to read a few facts.

No service is started for it. Secrets are never among the arguments, which every process can read.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

from tunflow.single_values import json_value

_SECONDS = 3


def has_busctl() -> bool:
    """Return True if somebody can be asked."""
    return shutil.which("busctl") is not None


def call(service: str, path: str, interface: str, method: str, *arguments: str) -> Any:
    """What a method answers, as busctl's JSON has it; None when nobody answers."""
    return _busctl("call", service, path, interface, method, *arguments)


def property_of(service: str, path: str, interface: str, name: str) -> Any:
    """The value of a property; None when nobody answers."""
    return _busctl("get-property", service, path, interface, name)


def properties_of(service: str, path: str, interface: str) -> dict[str, Any]:
    """All properties of an interface by name; none when nobody answers."""
    answer = call(service, path, "org.freedesktop.DBus.Properties", "GetAll", "s", interface)
    if not isinstance(answer, list) or not answer or not isinstance(answer[0], dict):
        return {}
    return {name: value.get("data") for name, value in answer[0].items() if isinstance(value, dict)}


def _busctl(*arguments: str) -> Any:
    try:
        done = subprocess.run(
            ["busctl", "--system", "--json=short", "--auto-start=no", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
        return json_value(done.stdout)["data"] if done.returncode == 0 else None
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError):
        return None
