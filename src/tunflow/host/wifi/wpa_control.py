"""What passes over wpa_supplicant's control socket, as text and back. Pure.

Read first: wpa_supplicant's "Control interface" (doc/docbook, wpa_ctrl.h), wpa_supplicant.conf(5).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tunflow.errors import BadPacket, LocalError
from tunflow.numbers import NotANumber, whole_number
from tunflow.providers.hotspot_network import HotspotNetwork, strength_of_dbm

LONGEST = 65536
"""Bytes of an answer."""
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|[\\\"enrt])")
_PLAIN = {b"\\": b"\\", b'"': b'"', b"e": b"\x1b", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_ADDRESS = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
_SIGNAL = re.compile(r"-?[0-9]{1,4}")


class SavedNetwork(NamedTuple):
    """A network that wpa_supplicant knows."""

    number: int
    ssid: str
    is_disabled: bool
    """It is not joined by itself."""


def ssid_of(text: bytes) -> str:
    """An SSID as wpa_supplicant prints it (printf-escaped)."""

    def plain(found: re.Match[bytes]) -> bytes:
        word = found[1]
        return bytes.fromhex(word[1:].decode()) if word[:1] == b"x" and len(word) == 3 else _PLAIN[word]

    return _ESCAPE.sub(plain, text).decode("utf-8", "replace")


def scan_results_untrusted(answer: bytes, current: str = "") -> list[HotspotNetwork]:
    """The networks of SCAN_RESULTS; `current` is the address of the access point that we are on. Raises BadPacket."""
    networks = []
    for line in answer.splitlines()[1:]:
        fields = line.split(b"\t", 4)
        if len(fields) != 5:
            raise BadPacket("a scan result without five fields")
        bssid, signal, flags = (fields[index].decode("ascii", "replace").lower() for index in (0, 2, 3))
        if not _ADDRESS.fullmatch(bssid) or not _SIGNAL.fullmatch(signal):
            raise BadPacket("a scan result without address or signal")
        dbm = float(signal)
        strength = strength_of_dbm(dbm) if dbm < 0 else min(dbm, 100) / 100  # some drivers count from 0 to 100
        is_secure = any(word in flags for word in ("wpa", "wep", "rsn", "sae"))
        networks.append(HotspotNetwork(ssid_of(fields[4]), bssid, strength, is_secure, is_current=bssid == current))
    return networks


def status_untrusted(answer: bytes) -> dict[str, str]:
    """The facts of STATUS; the SSID is unescaped. Raises BadPacket."""
    facts: dict[str, str] = {}
    for line in answer.splitlines():
        name, equals, value = line.partition(b"=")
        if not equals:
            raise BadPacket("a status line without =")
        key = name.decode("ascii", "replace")
        facts[key] = ssid_of(value) if key == "ssid" else value.decode("utf-8", "replace")
    return facts


def saved_untrusted(answer: bytes) -> list[SavedNetwork]:
    """The networks of LIST_NETWORKS. Raises BadPacket."""
    networks = []
    for line in answer.splitlines()[1:]:
        number, *rest = line.split(b"\t")
        if not rest:
            raise BadPacket("a saved network without a name")
        try:
            networks.append(SavedNetwork(whole_number(number, 65535), ssid_of(rest[0]), b"[DISABLED]" in rest[-1]))
        except NotANumber:
            raise BadPacket("a saved network without a number") from None
    return networks


def settings(number: int, ssid: str, passphrase: str | None) -> list[str]:
    """The commands that make network `number` this one. Raises LocalError for a passphrase that is none."""
    lines = [f"SET_NETWORK {number} ssid {ssid.encode().hex()}"]
    if passphrase is None:
        return [*lines, f"SET_NETWORK {number} key_mgmt NONE"]
    check_passphrase(passphrase)
    lines.append(f"SET_NETWORK {number} key_mgmt WPA-PSK WPA-PSK-SHA256 SAE")
    lines.append(f"SET_NETWORK {number} ieee80211w 1")
    return [*lines, f'SET_NETWORK {number} psk "{passphrase}"']


def check_passphrase(passphrase: str) -> None:
    """Raise LocalError unless it can be one (IEEE 802.11 annex J.4.1: 8 to 63 ASCII characters)."""
    if not 8 <= len(passphrase) <= 63 or not all(" " <= each <= "~" for each in passphrase):
        raise LocalError("a Wi-Fi passphrase has 8 to 63 letters, digits and signs of ASCII")


def failure_of_event(event: bytes) -> str | None:
    """Why joining failed, if an event says so: `<3>CTRL-EVENT-SSID-TEMP-DISABLED … reason=WRONG_KEY`."""
    text = event.decode("utf-8", "replace")
    if "CTRL-EVENT-SSID-TEMP-DISABLED" in text:
        return "the passphrase is wrong" if "reason=WRONG_KEY" in text else "it refuses this machine"
    return "there is no such network here" if "CTRL-EVENT-NETWORK-NOT-FOUND" in text else None


def is_connected_event(event: bytes) -> bool:
    """Return True for `<3>CTRL-EVENT-CONNECTED …`."""
    return b"CTRL-EVENT-CONNECTED" in event
