"""What manages Wi-Fi, imitated: a wpa_supplicant that listens on a socket, nmcli beside dbusmock's NetworkManager."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from pathlib import Path

PASSPHRASE = "correct horse"
NMCLI = """#!/bin/sh
known="{folder}/known"; touch "$known"
case "$*" in
  *"connection show"*) sed 's/^/802-11-wireless:/' "$known" ;;
  "connection add"*) shift 5; echo "$1" >> "$known" ;;
  "connection up"*)
    read -r secret
    case "$4" in Nowhere) echo "Error: No network with SSID 'Nowhere' found." >&2; exit 10 ;; esac
    [ "$secret" = "802-11-wireless-security.psk:{passphrase}" ] || [ -z "$secret" ] && exit 0
    for _ in $(seq 100); do echo "wlan0: connecting (need authentication)" >> "{folder}/events"; sleep 0.1; done
    exit 4 ;;
  "device monitor wlan0") echo > "{folder}/events"; exec tail -n +1 -f "{folder}/events" ;;
  "connection delete"*) grep -vx "$4" "$known" > "$known.new"; mv "$known.new" "$known" ;;
  *) echo "Error: not imitated: $*" >&2; exit 2 ;;
esac
"""


def write_nmcli(folder: Path) -> None:
    """An nmcli that keeps its connections in a file."""
    program = folder / "nmcli"
    program.write_text(NMCLI.format(folder=folder, passphrase=PASSPHRASE))
    program.chmod(0o755)


class Supplicant:
    """A wpa_supplicant with two networks in the air, on the first of them; a context manager."""

    def __init__(self, path: Path, disabled: Sequence[str] = ()) -> None:
        """`disabled`: networks that it knows and does not join by itself."""
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._attached: str | None = None
        self._saved = {0: {"ssid": "Office 5"}}
        self._saved |= {number: {"ssid": ssid, "disabled": "1"} for number, ssid in enumerate(disabled, 1)}
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Supplicant:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
            asking.sendto(b"TERMINATE", str(self._path))
        self._thread.join()
        self._socket.close()

    def joined_by_itself(self) -> list[str]:
        """The networks that it joins when they are there."""
        return [each["ssid"] for each in self._saved.values() if each.get("disabled") != "1"]

    def _serve(self) -> None:
        while True:
            data, sender = self._socket.recvfrom(4096)
            if data == b"TERMINATE":
                return
            answer, events = self._answer(data.decode(), str(sender))
            self._socket.sendto(answer.encode("latin-1"), sender)
            for event in events:
                if self._attached is not None:
                    self._socket.sendto(f"<3>{event}".encode(), self._attached)

    def _answer(self, command: str, sender: str) -> tuple[str, list[str]]:
        word, _, rest = command.partition(" ")
        match word:
            case "ATTACH":
                self._attached = sender
                return "OK\n", []
            case "SCAN":
                return "OK\n", ["CTRL-EVENT-SCAN-STARTED ", "CTRL-EVENT-SCAN-RESULTS "]
            case "SCAN_RESULTS":
                return (
                    "bssid / frequency / signal level / flags / ssid\n"
                    "00:11:22:33:44:55\t2425\t-59\t[WPA2-PSK-CCMP][ESS]\tOffice 5\n"
                    "00:11:22:33:44:66\t5180\t-85\t[ESS]\tCaf\\xc3\\xa9\n"
                ), []
            case "STATUS":
                return "bssid=00:11:22:33:44:55\nssid=Office 5\nkey_mgmt=WPA2-PSK\nwpa_state=COMPLETED\n", []
            case "LIST_NETWORKS":
                lines = [
                    f"{number}\t{each['ssid']}\tany\t{'[DISABLED]' if each.get('disabled') == '1' else ''}"
                    for number, each in self._saved.items()
                ]
                return "\n".join(["network id / ssid / bssid / flags", *lines]) + "\n", []
            case "ADD_NETWORK":
                number = max(self._saved) + 1
                self._saved[number] = {"ssid": "", "psk": "", "disabled": "1"}
                return f"{number}\n", []
            case "SET_NETWORK":
                which, name, value = rest.split(" ", 2)
                self._saved[int(which)][name] = bytes.fromhex(value).decode() if name == "ssid" else value
                return "OK\n", []
            case "ENABLE_NETWORK":
                self._saved[int(rest)]["disabled"] = "0"
                return "OK\n", []
            case "SELECT_NETWORK":
                for other, each in self._saved.items():
                    each["disabled"] = "0" if other == int(rest) else "1"
                return "OK\n", self._joining(self._saved[int(rest)])
            case "REMOVE_NETWORK":
                del self._saved[int(rest)]
                return "OK\n", []
        return "FAIL\n", []

    def _joining(self, network: dict[str, str]) -> list[str]:
        if network["ssid"] == "Nowhere":
            return ["CTRL-EVENT-NETWORK-NOT-FOUND "]
        if network.get("psk") in {None, "", f'"{PASSPHRASE}"'}:
            return ["Trying to associate", "CTRL-EVENT-CONNECTED - Connection to 00:11:22:33:44:66 completed"]
        return ['CTRL-EVENT-SSID-TEMP-DISABLED id=1 ssid="x" auth_failures=1 duration=10 reason=WRONG_KEY']
