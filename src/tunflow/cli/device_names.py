"""What a profile calls the devices of a network, for who reads a filter's log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunflow.addresses import ip_address
from tunflow.profiles.sections.filter import FilterSection, hardware_address
from tunflow.tunnel.filter_lists import known_devices

Facts = Mapping[str, Any]
"""A line of the log."""


class DeviceNames:
    """The names of `[filter.devices]`, found by what the log has of a client."""

    def __init__(self, section: FilterSection | None) -> None:
        self._devices = None if section is None or not section.devices else known_devices(section)
        self._found: dict[tuple[str, str], str] = {}

    def named(self, facts: Facts) -> Facts:
        """A line with the name of its device as `device_name`, if it has one."""
        client, device = str(facts.get("client") or ""), str(facts.get("device") or "")
        if self._devices is None or not (client or device):
            return facts
        asked = client, device
        if asked not in self._found:
            self._found[asked] = ", ".join(self._devices.names_of(_packed(client), hardware_address(device)))
        name = self._found[asked]
        return {**facts, "device_name": name} if name else facts


def _packed(text: str) -> bytes | None:
    try:
        return ip_address(text).packed
    except ValueError:
        return None
