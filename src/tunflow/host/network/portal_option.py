"""What the network itself says of its login page: DHCP option 114 or a router advertisement (RFC 8910).

This host's network manager hears it; networkd writes it beside the link's other facts, NetworkManager has it on the
system bus among a lease's options. Blocks.

Read first: networkd.conf(5) and systemd.network(5) (`UseCaptivePortal=`), org.freedesktop.NetworkManager.DHCP4Config.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from tunflow.host.network.network_facts import network_managers_lease
from tunflow.urls import NotAURL, parse_web_address

LINKS = Path("/run/systemd/netif/links")
UNRESTRICTED = "urn:ietf:params:capport:unrestricted"
"""What the option says where there is no login page (RFC 8910 §2)."""
_KEY = "CAPTIVE_PORTAL="
_OPTION_114 = "default_url"
"""How NetworkManager calls it, by its older name."""


def portal_api(interface: str, index: int, links: Path = LINKS) -> str | None:
    """The http:// or https:// address that the network of an interface names; None where it names none."""
    for text in (_networkd(links / str(index)), network_managers_lease(interface).get(_OPTION_114)):
        if text and text != UNRESTRICTED:
            with suppress(NotAURL):
                parse_web_address(text)
                return text
    return None


def _networkd(file: Path) -> str | None:
    with suppress(OSError):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(_KEY):
                return line.removeprefix(_KEY).strip().strip('"')
    return None
