"""Wi-Fi networks that a program adds and takes away: NEHotspotConfigurationManager."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from tunflow.errors import LocalError
from tunflow.host.wifi.backend import WifiBackend
from tunflow.host.wifi.found import find_wifi


@dataclass(frozen=True, slots=True)
class HotspotConfiguration:
    """A network to join; NEHotspotConfiguration."""

    ssid: str
    passphrase: str | None = field(default=None, repr=False)
    """None for an open network."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.ssid.encode()) <= 32:
            raise LocalError(f"SSID {self.ssid!r}: expected 1 to 32 bytes")


class HotspotConfigurationManager:
    """This machine's; `backend` is found where none is given."""

    def __init__(self, backend: WifiBackend | None = None) -> None:
        self._backend = backend

    async def apply(self, configuration: HotspotConfiguration) -> None:
        """Join a network, and return once that is done. Raises LocalError."""
        await asyncio.to_thread(lambda: self._wifi().join(configuration.ssid, configuration.passphrase))

    async def remove_configuration(self, ssid: str) -> None:
        """Leave a network, and do not join it again by itself. Raises LocalError."""
        await asyncio.to_thread(lambda: self._wifi().forget(ssid))

    async def configured_ssids(self) -> list[str]:
        """The networks that are joined by themselves. Raises LocalError."""
        return await asyncio.to_thread(lambda: self._wifi().saved())

    def _wifi(self) -> WifiBackend:
        self._backend = self._backend or find_wifi()
        return self._backend
