"""What the page may do with the tunnel of `up`: what the control socket lets its owner do, and no more.

Whoever asks has shown the API's secret. All of it happens in the loop of the tunnel, not in the API's thread. The
profiles are those that were saved when the tunnel started: the process that serves it may read no others.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from tunflow.control.messages import ControlRequest
from tunflow.control.server import Handler
from tunflow.errors import LocalError
from tunflow.host.rights.open_file import OpenFile


class TunnelSwitch:
    """Asks what answers the control socket; made in the loop that answers. `profiles` are files by name."""

    def __init__(self, handle: Handler, profiles: Mapping[str, Path], opens: OpenFile) -> None:
        self._handle = handle
        self._profiles = profiles
        self._opens = opens
        self._loop = asyncio.get_running_loop()

    def status(self) -> Future[dict[str, Any]]:
        """What the tunnel is doing, and which profiles there are. From any thread; RemoteError where it fails."""
        return asyncio.run_coroutine_threadsafe(self._status(), self._loop)

    def use(self, name: str | None) -> Future[list[str]]:
        """Go on with another profile, or read the one that it has again; what changed, in lines for people.

        From any thread; LocalError or RemoteError, after which nothing has changed.
        """
        return asyncio.run_coroutine_threadsafe(self._use(name), self._loop)

    def stop(self) -> None:
        """Have the tunnel go down, and the API with it. From any thread."""
        asyncio.run_coroutine_threadsafe(self._ask("stop"), self._loop)

    async def _ask(self, operation: str, **arguments: Any) -> dict[str, Any]:
        return dict(await self._handle(ControlRequest(operation, arguments)))

    async def _status(self) -> dict[str, Any]:
        facts = await self._ask("status")
        return {
            "status": str(facts["status"]),
            "profile": self._name_of(facts["profile"]),
            "profiles": sorted(self._profiles),
            "servers": list(facts["servers"]),
            "kill_switch": bool(facts["kill_switch"]),
        }

    async def _use(self, name: str | None) -> list[str]:
        if name is None:
            name = self._name_of((await self._ask("status"))["profile"])
            if name is None:
                raise LocalError("the tunnel was started without a profile that could be read again")
        path = self._profiles.get(name)
        if path is None:
            raise LocalError(f"no profile {name[:80]!r} was saved when the tunnel started: tunflow reload takes any")
        told = await self._ask("reload", profile=str(path), text=self._read(path))
        return [str(note) for note in told["notes"]]

    def _name_of(self, file: object) -> str | None:
        return next((name for name, path in self._profiles.items() if str(path) == file), None)

    def _read(self, path: Path) -> str:
        """Raises LocalError."""
        try:
            with os.fdopen(self._opens(path, False), encoding="utf-8") as opened:
                return opened.read()
        except OSError as error:
            raise LocalError(f"cannot read the profile {path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise LocalError(f"cannot read the profile {path}: not UTF-8 text") from None
