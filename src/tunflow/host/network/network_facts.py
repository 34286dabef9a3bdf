"""What kind of network an interface is on: its type, Wi-Fi name, resolvers and search domains.

The type is the kernel's (sysfs); the SSID nl80211's, or NetworkManager's where it runs and the kernel does not tell;
the resolvers and search domains are those of the network, not the tunnel's own (`outer_resolvers`).

Read first: Linux Documentation/ABI/testing/sysfs-class-net, org.freedesktop.NetworkManager (D-Bus), busctl(1).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tunflow.addresses import ip_address
from tunflow.host.network.system_bus import call, has_busctl, property_of
from tunflow.host.network.uplinks import PathFinder, Uplinks
from tunflow.host.resolvers.outer_resolvers import SOURCES
from tunflow.host.wifi.nl80211 import associated
from tunflow.providers.network_path import InterfaceType, NetworkPath, PathStatus

ETHERNET = 1
"""ARPHRD_ETHER, linux/if_arp.h"""
_NETWORK_MANAGER = "org.freedesktop.NetworkManager"
_ROOT = "/org/freedesktop/NetworkManager"


async def network_path(finder: PathFinder, nameservers: Sequence[str]) -> NetworkPath:
    """The way out now, as `describe` has it; from a thread, as it may have to ask NetworkManager. Raises OSError."""
    return await asyncio.to_thread(describe, finder.look([]), nameservers)


def describe(path: Uplinks, nameservers: Sequence[str], sysfs: Path = Path("/sys/class/net")) -> NetworkPath:
    """The way out as providers and on-demand rules see it; `nameservers` are the network's."""
    if not path.is_satisfied:
        return NetworkPath(PathStatus.UNSATISFIED)
    uplink = path.uplinks[0]
    kind = interface_type(uplink.interface, sysfs)
    return NetworkPath(
        PathStatus.SATISFIED,
        uplink.interface,
        kind,
        tuple(ip_address(each.gateway) for each in path.uplinks if each.gateway),
        ssid(uplink.interface) if kind is InterfaceType.WIFI else None,
        tuple(ip_address(server.partition("%")[0]) for server in nameservers),
        search_domains(),
    )


def interface_type(name: str, sysfs: Path = Path("/sys/class/net")) -> InterfaceType:
    """What an interface is, by what its driver says of it."""
    place = sysfs / name
    if (place / "phy80211").exists() or (place / "wireless").exists():
        return InterfaceType.WIFI
    with suppress(OSError, ValueError):
        if "DEVTYPE=wwan" in (place / "uevent").read_text().split():
            return InterfaceType.CELLULAR
        if int((place / "type").read_text()) == ETHERNET:
            return InterfaceType.ETHERNET
    return InterfaceType.OTHER


def ssid(interface: str) -> str | None:
    """The name of the Wi-Fi network that an interface is on; None when it is on none or nobody tells."""
    network = associated(interface)
    return network.ssid if network is not None and network.ssid else network_managers_ssid(interface)


def network_managers_ssid(interface: str) -> str | None:
    """The SSID of an interface's active access point, as NetworkManager has it on the system bus."""
    if not has_busctl():
        return None
    device = call(_NETWORK_MANAGER, _ROOT, _NETWORK_MANAGER, "GetDeviceByIpIface", "s", interface)
    if not isinstance(device, list) or not device:
        return None
    point = property_of(_NETWORK_MANAGER, device[0], f"{_NETWORK_MANAGER}.Device.Wireless", "ActiveAccessPoint")
    if not isinstance(point, str) or point == "/":
        return None
    name = property_of(_NETWORK_MANAGER, point, f"{_NETWORK_MANAGER}.AccessPoint", "Ssid")
    return bytes(name).decode(errors="replace") if isinstance(name, list) else None


def network_managers_lease(interface: str) -> dict[str, str]:
    """The options of an interface's DHCPv4 lease, as NetworkManager names them; none where it does not run."""
    if not has_busctl():
        return {}
    device = call(_NETWORK_MANAGER, _ROOT, _NETWORK_MANAGER, "GetDeviceByIpIface", "s", interface)
    if not isinstance(device, list) or not device:
        return {}
    lease = property_of(_NETWORK_MANAGER, device[0], f"{_NETWORK_MANAGER}.Device", "Dhcp4Config")
    if not isinstance(lease, str) or lease == "/":
        return {}
    options = property_of(_NETWORK_MANAGER, lease, f"{_NETWORK_MANAGER}.DHCP4Config", "Options")
    return {name: str(value.get("data")) for name, value in options.items()} if isinstance(options, dict) else {}


def search_domains(sources: Sequence[Path] = SOURCES) -> tuple[str, ...]:
    """The network's search domains, from the first list that has any."""
    for source in sources:
        with suppress(OSError):
            lines = [line.split() for line in source.read_text(encoding="utf-8", errors="replace").splitlines()]
            found = [words[1:] for words in lines if words and words[0] in {"search", "domain"}]
            if found:
                return tuple(word for word in found[-1] if word != ".")  # resolv.conf(5): the last instance wins
    return ()
