"""Who manages the emulated machine's network: systemd-networkd, as it boots, or NetworkManager."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.machine.emulated import Machine
from tests.machine.installed import PATIENCE

UDEV = "/run/udev/rules.d/86-lab.rules"
"""NetworkManager leaves veth devices alone unless udev says otherwise (85-nm-unmanaged.rules)."""


@contextmanager
def network_manager(machine: Machine, *, cable: bool) -> Iterator[None]:
    """Have NetworkManager instead of systemd-networkd, for Wi-Fi and, with `cable`, for `lan0`."""
    unmanaged = "0" if cable else "1"
    machine.write(UDEV, f'ENV{{ID_NET_DRIVER}}=="veth", ENV{{NM_UNMANAGED}}="{unmanaged}"\n', "644")
    machine.sh("udevadm control --reload; udevadm trigger --settle --action=change /sys/class/net/lan0")
    machine.sh("systemctl stop systemd-networkd.socket systemd-networkd; ip addr flush dev lan0; ip link set lan0 down")
    machine.ok("systemctl", "start", "NetworkManager", timeout=PATIENCE)
    try:
        yield
    finally:
        machine.sh("systemctl stop NetworkManager wpa_supplicant; ip addr flush dev lan0", timeout=PATIENCE)
        machine.sh("systemctl start systemd-networkd.socket systemd-networkd", timeout=PATIENCE)
        machine.until("ip -4 addr show lan0", "192.0.2.", PATIENCE)
