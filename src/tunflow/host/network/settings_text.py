"""`HostSettings` as JSON and back, for the process that applies them with rights that the asker has not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from enum import Enum
from typing import Any

from tunflow.addresses import ip_address, ip_interface, ip_network
from tunflow.errors import BadPacket, LocalError
from tunflow.host.network.settings import AppScope, HostDNS, HostSettings
from tunflow.single_values import json_value

_PARSERS: dict[str, Callable[[str], object]] = {
    "addresses": ip_interface,
    "included": ip_network,
    "excluded": ip_network,
    "servers": ip_address,
    "portal": ip_address,
}


def to_json(settings: HostSettings) -> str:
    """The text of settings."""
    return json.dumps(_plain(settings))


def from_json_untrusted(text: str) -> HostSettings:
    """The settings that a text holds, checked as any settings are. Raises BadPacket."""
    try:
        data = json_value(text)
        names = {field.name for field in fields(HostSettings)}
        if not isinstance(data, dict) or data.keys() != names:
            raise BadPacket("not the settings of a host")
        for name, parse in _PARSERS.items():
            data[name] = None if data[name] is None else tuple(parse(_text(each)) for each in data[name])
        for name in ("gateways", "cgroups"):
            data[name] = tuple(map(_text, data[name]))
        data["portal_ports"] = tuple(map(_number, data["portal_ports"]))
        data["scope"] = AppScope(data["scope"])
        data["dns"] = None if data["dns"] is None else _dns(data["dns"])
        _check_kinds(data)
        return HostSettings(**data)
    except (ValueError, TypeError, KeyError, LocalError) as error:
        raise BadPacket(f"not the settings of a host: {error}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, HostSettings | HostDNS):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Enum):
        return value.value
    return value if value is None or isinstance(value, int | str) else str(value)


def _dns(data: Any) -> HostDNS:
    match = data["match"]
    return HostDNS(
        tuple(map(ip_address, data["servers"])),
        tuple(map(_text, data["search"])),
        None if match is None else tuple(map(_text, match)),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("expected text")
    return value


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("expected a number")
    return value


def _check_kinds(data: dict[str, Any]) -> None:
    _text(data["device"])
    for name in ("exclude_lan", "carry_dns", "kill_switch"):
        if not isinstance(data[name], bool):
            raise TypeError(f"{name}: expected true or false")
    for name in ("mtu", "mark", "table", "priority"):
        value = data[name]
        if isinstance(value, bool) or not isinstance(value, int | None) or (value is None and name != "mtu"):
            raise TypeError(f"{name}: expected a number")
