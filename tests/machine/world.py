"""What scenarios ask of the emulated machine and of the network beside it (`inside/world.py`)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from tests.machine.emulated import Machine
from tests.machine.inside.world import SERVER, SITE4, SITE6

__all__ = ["SERVER", "SITE4", "SITE6", "Sight", "fetched", "forget_sights", "picture", "sights", "status"]

PICTURES = {
    "addresses": "ip -d addr",
    "rules": "ip rule; ip -6 rule",
    "routes": "ip route show table all; ip -6 route show table all",
    "nft": "nft list ruleset",
    "resolv.conf": "ls -l --time-style=+ /etc/resolv.conf; cat /etc/resolv.conf",
    "resolved": "resolvectl dns; resolvectl domain",
    "sysctl": "sysctl -a --pattern '^net\\.ipv[46]\\.(conf|ip_forward)' 2>/dev/null",
}
CHANGING = re.compile(r"valid_lft \w+|preferred_lft \w+|expires \w+|age \w+|\bqlen \d+|.*stable_secret.*")
"""What moves by itself."""


@dataclass(frozen=True, slots=True)
class Sight:
    """A packet that the witness at the other end of the wire saw."""

    seconds: float
    protocol: str
    source: str
    target: str
    port: int


def sights(machine: Machine) -> list[Sight]:
    """What arrived since boot, or since `forget_sights`; of TCP only what opens a connection."""
    fields = [line.split() for line in machine.ok("cat", "/run/lab/seen").splitlines()]
    return [Sight(float(at), protocol, source, target, int(port)) for at, protocol, source, target, port in fields]


def forget_sights(machine: Machine) -> None:
    """Have the witness begin anew."""
    machine.ok("systemctl", "kill", "--kill-whom=main", "-s", "HUP", "lab-world.service")
    machine.until("wc -c </run/lab/seen")


def status(machine: Machine) -> dict[str, Any]:
    """What `tunflow status --json` says."""
    return json.loads(machine.ok("tunflow", "status", "--json"))


def fetched(machine: Machine, url: str, *options: str) -> str:
    """What a site answers, or nothing."""
    return machine.run("curl", "-sS", "-m", "15", *options, url).out.strip()


def picture(machine: Machine) -> dict[str, str]:
    """Everything on the host that a tunnel may change."""
    return {name: CHANGING.sub("", machine.run("sh", "-c", script).out) for name, script in PICTURES.items()}
