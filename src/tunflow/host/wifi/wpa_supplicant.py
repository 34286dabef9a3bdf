"""Wi-Fi by wpa_supplicant's control socket, where that runs alone. Blocks."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from tunflow.errors import BadPacket, LocalError
from tunflow.host.wifi import wpa_control
from tunflow.host.wifi.backend import WifiBackend
from tunflow.providers.hotspot_network import HotspotNetwork, strength_of_dbm

T = TypeVar("T")

SOCKETS = Path("/run/wpa_supplicant")
PATIENCE = 5.0
"""Seconds for an answer."""
SCAN_PATIENCE = 8.0
JOIN_PATIENCE = 25.0
"""Seconds to join: a scan, the handshake, and some tries."""


class WpaSupplicant(WifiBackend):
    """The wpa_supplicant that listens in `folder`."""

    name = "wpa_supplicant"

    def __init__(self, interface: str, folder: Path = SOCKETS, join_patience: float = JOIN_PATIENCE) -> None:
        super().__init__(interface)
        self._path = folder / interface
        self._join_patience = join_patience

    def networks(self) -> list[HotspotNetwork]:
        """As `WifiBackend.networks`."""
        with _Control(self._path, events=True) as control:
            with suppress(LocalError):  # one may run already
                control.do("SCAN")
                control.wait(lambda event: b"CTRL-EVENT-SCAN-RESULTS" in event, SCAN_PATIENCE)
            current = self._facts(control).get("bssid", "")
            return _checked(lambda: wpa_control.scan_results_untrusted(control.ask("SCAN_RESULTS"), current))

    def current(self) -> HotspotNetwork | None:
        """As `WifiBackend.current`."""
        with _Control(self._path) as control:
            facts = self._facts(control)
            if facts.get("wpa_state") != "COMPLETED":
                return None
            known = _checked(
                lambda: wpa_control.scan_results_untrusted(control.ask("SCAN_RESULTS"), facts.get("bssid", ""))
            )
            for network in known:
                if network.is_current:
                    return network
            is_secure = facts.get("key_mgmt", "NONE") != "NONE"
            return HotspotNetwork(
                facts.get("ssid", ""), facts.get("bssid", ""), strength_of_dbm(-75), is_secure, is_current=True
            )

    def join(self, ssid: str, passphrase: str | None) -> None:
        """As `WifiBackend.join`: a saved network by what is saved of it, or anew by this passphrase in its place."""
        with _Control(self._path, events=True) as control:
            saved = self._saved(control)
            others = [each.number for each in saved if not each.is_disabled]
            known = [each.number for each in saved if each.ssid == ssid]
            if known and passphrase is None:
                self._select(control, known[0], ssid, others)
                return
            number = control.ask("ADD_NETWORK").decode("ascii", "replace").strip()
            if not number.isdecimal():
                raise LocalError(f"{self.interface}: wpa_supplicant takes no network: {number}")
            try:
                for line in wpa_control.settings(int(number), ssid, passphrase):
                    control.do(line)
                self._select(control, int(number), ssid, others)
            except LocalError:
                with suppress(LocalError):
                    control.do(f"REMOVE_NETWORK {number}")
                raise
            for before in known:
                control.do(f"REMOVE_NETWORK {before}")
            with suppress(LocalError):  # only where its configuration may be written
                control.do("SAVE_CONFIG")

    def _select(self, control: _Control, number: int, ssid: str, others: list[int]) -> None:
        """Join one network, and leave the others as they were. Raises LocalError."""
        try:
            control.do(f"SELECT_NETWORK {number}")
            self._wait_joined(control, ssid)
        finally:
            self._enable(control, others)

    def _enable(self, control: _Control, numbers: list[int]) -> None:
        """Have networks joined by themselves as before: SELECT_NETWORK disables all but one."""
        for number in numbers:
            with suppress(LocalError):
                control.do(f"ENABLE_NETWORK {number}")

    def _wait_joined(self, control: _Control, ssid: str) -> None:
        failures: list[str] = []

        def is_decided(event: bytes) -> bool:
            failure = wpa_control.failure_of_event(event)
            if failure is not None:
                failures.append(failure)
            return failure == "the passphrase is wrong" or wpa_control.is_connected_event(event)

        decided = control.wait(is_decided, self._join_patience)
        if not decided or "the passphrase is wrong" in failures:
            why = failures[-1] if failures else f"not joined within {self._join_patience:.0f} s"
            raise LocalError(f"cannot join {ssid!r}: {why}")

    def forget(self, ssid: str) -> None:
        """As `WifiBackend.forget`."""
        with _Control(self._path) as control:
            numbers = [each.number for each in self._saved(control) if each.ssid == ssid]
            if not numbers:
                raise LocalError(f"no saved network is called {ssid!r}")
            for number in numbers:
                control.do(f"REMOVE_NETWORK {number}")
            with suppress(LocalError):
                control.do("SAVE_CONFIG")

    def saved(self) -> list[str]:
        """As `WifiBackend.saved`."""
        with _Control(self._path) as control:
            return [each.ssid for each in self._saved(control)]

    def _saved(self, control: _Control) -> list[wpa_control.SavedNetwork]:
        return _checked(lambda: wpa_control.saved_untrusted(control.ask("LIST_NETWORKS")))

    def _facts(self, control: _Control) -> dict[str, str]:
        return _checked(lambda: wpa_control.status_untrusted(control.ask("STATUS")))


def _checked(parse: Callable[[], T]) -> T:
    try:
        return parse()
    except BadPacket as error:
        raise LocalError(f"wpa_supplicant says what cannot be read: {error}") from None


class _Control:
    """One conversation; a context manager. With `events` those that come unasked are kept."""

    def __init__(self, path: Path, *, events: bool = False) -> None:
        """Raises LocalError."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._own = Path(tempfile.gettempdir()) / f"tunflow-wpa-{os.getpid()}-{id(self):x}"
        self._events: list[bytes] = []
        try:
            self._socket.bind(str(self._own))
            self._socket.connect(str(path))
        except OSError as error:
            self.close()
            hint = ": it needs root" if isinstance(error, PermissionError) else ""
            raise LocalError(f"{path}: wpa_supplicant cannot be asked: {error.strerror}{hint}") from None
        if events:
            self.do("ATTACH")

    def __enter__(self) -> _Control:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it."""
        self._socket.close()
        self._own.unlink(missing_ok=True)

    def do(self, command: str) -> None:
        """Have something done. Raises LocalError."""
        if self.ask(command).strip() != b"OK":
            raise LocalError(f"wpa_supplicant refuses {command.split(maxsplit=1)[0]}")

    def ask(self, command: str) -> bytes:
        """The answer. Raises LocalError."""
        try:
            self._socket.settimeout(PATIENCE)
            self._socket.send(command.encode())
            while (data := self._socket.recv(wpa_control.LONGEST)).startswith(b"<"):
                self._events.append(data)
        except OSError as error:
            raise LocalError(f"wpa_supplicant does not answer: {error.strerror or error}") from None
        return data

    def wait(self, is_wanted: Callable[[bytes], bool], patience: float) -> bool:
        """Return True once such an event has come, False after `patience` seconds."""
        deadline = time.monotonic() + patience
        while True:
            while self._events:
                if is_wanted(self._events.pop(0)):
                    return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._socket.settimeout(left)
            with suppress(TimeoutError):
                self._events.append(self._socket.recv(wpa_control.LONGEST))
