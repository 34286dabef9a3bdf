"""A saved tunnel as something that is up or not: NEVPNConnection and NETunnelProviderSession.

It speaks with the process that serves the tunnel over the control socket, so it works from any process of the same
user, or root's. Only one tunnel is up at a time; a connection whose profile it is not is disconnected.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from tunflow.control.client import NotRunning, Refused, ask
from tunflow.control.watching import events
from tunflow.errors import LocalError, RemoteError
from tunflow.host.daemon import spawn
from tunflow.host.file_watch import FileWatch
from tunflow.host.runtime import RuntimeDirectory
from tunflow.providers.status import ConnectionStatus
from tunflow.tunnel import last_disconnect
from tunflow.tunnel.portal_signs import CAPTIVE
from tunflow.tunnel.vpn_error import VPNConnectionError, VPNError, VPNErrorCode

SERVER_VARIABLE = "TUNFLOW_SERVER"


class SavedTunnel(Protocol):
    """What a connection asks of its manager: a `TunnelManager`."""

    @property
    def name(self) -> str:
        """The profile's name."""

    @property
    def file(self) -> Path | None:
        """Where the profile is saved; None before that."""

    @property
    def is_enabled(self) -> bool:
        """True if it may be started."""


class VPNConnection:
    """The connection of `manager`, which has it as `manager.connection`."""

    def __init__(self, manager: SavedTunnel) -> None:
        self.manager = manager

    async def start(self, options: Mapping[str, Any] | None = None) -> None:
        """Bring the tunnel up, and return when it is; a provider's `start_tunnel` is given `options`.

        Raises VPNError for a profile that cannot be started (not saved, disabled, wrong), and VPNConnectionError when
        it does not come up. Options are JSON values.
        """
        manager = self.manager
        if manager.file is None:
            raise VPNError(
                VPNErrorCode.CONFIGURATION_INVALID, f"{manager.name} is not saved: save it before it is started"
            )
        if not manager.is_enabled:
            raise VPNError(VPNErrorCode.CONFIGURATION_DISABLED, f"{manager.file}: enabled is false")
        instructions = {"profile": str(manager.file), **({"options": dict(options)} if options else {})}
        runtime = RuntimeDirectory.own()
        await asyncio.to_thread(runtime.make)
        told = json.dumps(instructions).encode()
        report = await asyncio.to_thread(spawn, ["up", "--spawned"], told, runtime.log, [SERVER_VARIABLE])
        if "error" not in report:
            return
        end = last_disconnect.read(runtime.path)
        if end is not None and end.code is not None and end.line == report["error"]:
            raise VPNConnectionError(end.code, end.line)
        raise VPNError(VPNErrorCode.CONFIGURATION_INVALID, report["error"])

    async def stop(self) -> None:
        """Take the tunnel down, and return when it is; nothing where it is not up. Raises LocalError or RemoteError."""
        if await self._facts() is not None:
            await self._ask("stop")

    @property
    def status(self) -> ConnectionStatus:
        """How the tunnel stands now: one question to its process. INVALID for a profile that is not saved."""
        if self.manager.file is None:
            return ConnectionStatus.INVALID
        return _status(self._read_facts())

    @property
    def connected_date(self) -> datetime | None:
        """Since when the tunnel is up; None when it is not."""
        since = (self._read_facts() or {}).get("since")
        return datetime.fromisoformat(since) if since else None

    async def status_changes(self) -> AsyncIterator[ConnectionStatus]:
        """The status now, then each new one, for as long as somebody listens; also when another process starts it."""
        last: ConnectionStatus | None = None
        while True:
            control = RuntimeDirectory.running().control
            with FileWatch(control) as watch:
                with suppress(RemoteError):  # it is not there, or on its way out
                    async for status in self._statuses(control):
                        if status is not last:
                            last = status
                            yield status
                if last is not ConnectionStatus.DISCONNECTED:
                    last = ConnectionStatus.DISCONNECTED
                    yield last
                await watch.wait()

    async def _statuses(self, control: Path) -> AsyncIterator[ConnectionStatus]:
        """The status now and each that the running process tells; none for another's tunnel. Raises RemoteError."""
        is_ours = False
        async for event in events(control):
            if event is None:
                facts = await self._facts()
                is_ours = facts is not None
                yield _status(facts)
            elif is_ours and event.name == "status":
                yield _status(event.facts)

    async def fetch_last_disconnect_error(self) -> VPNConnectionError | None:
        """Why this tunnel ended the last time; None when it was taken down, is up, or never was."""
        end = await asyncio.to_thread(last_disconnect.read, RuntimeDirectory.running().path)
        if end is None or end.code is None or end.profile != str(self.manager.file):
            return None
        return VPNConnectionError(end.code, end.line)

    async def send_message(self, data: bytes) -> bytes | None:
        """Send the provider a message; what its `handle_app_message` answers. Raises LocalError or RemoteError."""
        if await self._facts() is None:
            raise LocalError(f"{self.manager.name} is not up: nobody answers messages")
        result = await self._ask("message", data=base64.b64encode(data).decode())
        answer = result.get("data")
        return None if answer is None else base64.b64decode(answer)

    async def _facts(self) -> dict[str, Any] | None:
        return await asyncio.to_thread(self._read_facts)

    def _read_facts(self) -> dict[str, Any] | None:
        """What the process says that serves this tunnel; None where there is none. Raises LocalError or RemoteError."""
        try:
            facts = ask(RuntimeDirectory.running().control, "status")
        except NotRunning:
            return None
        return facts if _is_same(facts.get("profile"), self.manager.file) else None

    async def _ask(self, operation: str, **arguments: Any) -> dict[str, Any]:
        try:
            return await asyncio.to_thread(ask, RuntimeDirectory.running().control, operation, **arguments)
        except NotRunning:
            return {}
        except Refused as error:
            if error.exit_status == LocalError.exit_status:
                raise LocalError(str(error)) from error
            raise RemoteError(str(error)) from error


def _status(facts: dict[str, Any] | None) -> ConnectionStatus:
    if facts is None:
        return ConnectionStatus.DISCONNECTED
    if facts["status"] == CAPTIVE:
        return ConnectionStatus.REASSERTING
    return ConnectionStatus[str(facts["status"]).upper()]


def _is_same(text: object, file: Path | None) -> bool:
    return isinstance(text, str) and file is not None and Path(text).absolute() == file.absolute()
