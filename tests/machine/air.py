"""Wi-Fi by the kernel alone (mac80211_hwsim): `wlan0` is the machine's, two access points are the network's."""

from __future__ import annotations

from tests.machine.emulated import Machine

PASSPHRASE = "lab passphrase"
POINTS = {"wlan1": 1, "wlan2": 6}
"""The access points' radios in the namespace `world`, and their channels."""
_HOSTAPD = """\
interface={interface}
driver=nl80211
bridge=wire0
ssid={ssid}
hw_mode=g
channel={channel}
"""
_SECURE = f"""\
wpa=2
wpa_key_mgmt=WPA-PSK
rsn_pairwise=CCMP
wpa_passphrase={PASSPHRASE}
"""


def switch_on(machine: Machine) -> None:
    """Have the radios: those of the access points are in the namespace `world`."""
    machine.sh("modprobe mac80211_hwsim radios=3")
    for interface in POINTS:
        machine.until(f"cat /sys/class/net/{interface}/phy80211/name")
        machine.sh(f"iw phy $(cat /sys/class/net/{interface}/phy80211/name) set netns name world")


def switch_off(machine: Machine) -> None:
    """Have no radio any more."""
    machine.sh("rmmod mac80211_hwsim")


def start_point(machine: Machine, interface: str, ssid: str, *, is_open: bool = False) -> str:
    """Have an access point; its BSSID."""
    text = _HOSTAPD.format(interface=interface, ssid=ssid, channel=POINTS[interface]) + ("" if is_open else _SECURE)
    machine.write(f"/run/lab/{interface}.conf", text)
    machine.sh(f"ip netns exec world hostapd -B -P /run/lab/{interface}.pid /run/lab/{interface}.conf")
    machine.until(f"ip netns exec world iw dev {interface} info", f"ssid {ssid}")
    return machine.sh(f"ip netns exec world cat /sys/class/net/{interface}/address").strip()


def stop_point(machine: Machine, interface: str) -> None:
    """Have it no longer; its clients notice by silence alone, as when one walks away."""
    machine.sh(
        f"ip netns exec world iw dev {interface} set txpower fixed 0 || true; kill -9 $(cat /run/lab/{interface}.pid)"
    )
    machine.sh(f"ip -n world link set {interface} down")
