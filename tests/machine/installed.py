"""The tunnel as scenarios install it: a service of the emulated machine's systemd, and what must hold meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.machine.emulated import Machine
from tests.machine.world import SERVER, Sight, sights

PROFILE = f"""\
server = "ss://aes-256-gcm:lab-password@{SERVER}:8388"
[tunnel]
kill_switch = true
[dns]
mode = "tcp://192.0.2.1:53"
"""
PLACE = "/etc/tunflow/home.toml"
CHATTER = ("198.51.100.99", "2001:db8:100::99")
"""Where the program sends to that nobody asked to (`inside/chatter.py`)."""
IS_ACTIVE = "systemctl is-active tunflow.service"
PATIENCE = 900.0
"""Seconds by the emulator's clock (`Machine.clock`); the emulated machine's pass slower."""


@contextmanager
def installed(machine: Machine, profile: str = PROFILE, interface: str = "lan0") -> Iterator[None]:
    """Have the service installed and connected by `interface`; afterwards it is removed."""
    machine.until(f"ip -4 addr show {interface}", "192.0.2.", PATIENCE)
    machine.until(f"ip -6 addr show {interface}", "2001:db8:1:", PATIENCE)
    machine.write(PLACE, profile)
    machine.ok("tunflow", "service", "install", PLACE)
    try:
        machine.ok("systemctl", "restart", "tunflow.service", timeout=PATIENCE)
        connected(machine)
        yield
    finally:
        machine.ok("tunflow", "service", "remove", timeout=PATIENCE)


def connected(machine: Machine) -> None:
    """Wait until the tunnel is."""
    machine.until("tunflow status --json", '"connected"', PATIENCE)


def chatter(machine: Machine) -> list[Sight]:
    """What the program that sends from the first moment on got out of the machine."""
    return [each for each in sights(machine) if each.target in CHATTER]
