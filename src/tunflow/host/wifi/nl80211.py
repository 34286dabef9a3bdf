"""Wi-Fi as the kernel sees it, where nobody manages it: what is in the air, and what this machine is on. Blocks.

Read first: linux/nl80211.h (NL80211_CMD_GET_SCAN, `enum nl80211_bss`), IEEE 802.11 §9.4.1.4 (capabilities).
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NoReturn

from tunflow.errors import LocalError
from tunflow.host.wifi.backend import WifiBackend
from tunflow.providers.hotspot_network import HotspotNetwork, strength_of_dbm

_ASSOCIATED = 1
"""NL80211_BSS_STATUS_ASSOCIATED."""


class Nl80211(WifiBackend):
    """The kernel alone: it knows no passphrases, so nothing can be joined."""

    name = "the kernel"

    def networks(self) -> list[HotspotNetwork]:
        """As `WifiBackend.networks`."""
        from pyroute2.iwutil import IW  # noqa: PLC0415 - only where there is Wi-Fi
        from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415

        try:
            with IW() as wireless:
                answers = list(wireless.scan(socket.if_nametoindex(self.interface)))
        except (OSError, NetlinkError) as error:
            raise LocalError(f"{self.interface}: the kernel does not scan: {error}: it needs root") from None
        found = (
            network_of(dict(bss["attrs"])) for bss in (each.get_attr("NL80211_ATTR_BSS") for each in answers) if bss
        )
        return [network for network in found if network is not None]

    def current(self) -> HotspotNetwork | None:
        """As `WifiBackend.current`."""
        return associated(self.interface)

    def join(self, ssid: str, passphrase: str | None) -> None:  # noqa: ARG002
        """As `WifiBackend.join`."""
        self._refuse()

    def forget(self, ssid: str) -> None:  # noqa: ARG002
        """As `WifiBackend.forget`."""
        self._refuse()

    def saved(self) -> list[str]:
        """As `WifiBackend.saved`."""
        return []

    def _refuse(self) -> NoReturn:
        raise LocalError(f"neither NetworkManager nor wpa_supplicant manages {self.interface}: nobody can join for us")


def associated(interface: str) -> HotspotNetwork | None:
    """The network that an interface is on, out of what the last scan heard: what anybody may ask, without rights.

    NL80211_CMD_GET_INTERFACE has an SSID only where the kernel itself connected, which is not so with wpa_supplicant.
    """
    from pyroute2.iwutil import IW  # noqa: PLC0415 - only where there is Wi-Fi
    from pyroute2.netlink import NLM_F_DUMP, NLM_F_REQUEST  # noqa: PLC0415
    from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415
    from pyroute2.netlink.nl80211 import NL80211_NAMES, nl80211cmd  # noqa: PLC0415

    with suppress(OSError, NetlinkError), IW() as wireless:
        request = nl80211cmd()
        request["cmd"] = NL80211_NAMES["NL80211_CMD_GET_SCAN"]
        request["attrs"] = [["NL80211_ATTR_IFINDEX", socket.if_nametoindex(interface)]]
        for answer in wireless.nlm_request(request, msg_type=wireless.prid, msg_flags=NLM_F_REQUEST | NLM_F_DUMP):
            bss = answer.get_attr("NL80211_ATTR_BSS")
            network = network_of(dict(bss["attrs"])) if bss else None
            if network is not None and network.is_current:
                return network
    return None


def network_of(attributes: Mapping[str, Any]) -> HotspotNetwork | None:
    """A network from the attributes of NL80211_ATTR_BSS, as pyroute2 names them; None for what is none."""
    bssid, elements = attributes.get("NL80211_BSS_BSSID"), attributes.get("NL80211_BSS_INFORMATION_ELEMENTS")
    if not isinstance(bssid, str) or not isinstance(elements, Mapping):
        return None
    name = elements.get("SSID", b"")
    signal = attributes.get("NL80211_BSS_SIGNAL_MBM")
    dbm = signal.get("SIGNAL_STRENGTH", {}).get("VALUE", -100) if isinstance(signal, Mapping) else -100
    capability = attributes.get("NL80211_BSS_CAPABILITY")
    words = str(capability.get("CAPABILITIES", "")) if isinstance(capability, Mapping) else ""
    return HotspotNetwork(
        name.decode("utf-8", "replace").rstrip("\0") if isinstance(name, bytes) else str(name),
        bssid.lower(),
        strength_of_dbm(float(dbm)),
        "Privacy" in words or "RSN" in elements or "WPA" in elements,
        is_current=attributes.get("NL80211_BSS_STATUS") == _ASSOCIATED,
    )
