"""What clients ask of the process that serves a tunnel, over its control socket."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Awaitable, Callable
from typing import Any

from tunflow.cli.instructions import Instructions
from tunflow.cli.rights import Rights
from tunflow.cli.system_names import parse_dns
from tunflow.control.messages import Request
from tunflow.errors import LocalError, RemoteError
from tunflow.providers.stop_reason import ProviderStopReason
from tunflow.tunnel.plan import make_plan
from tunflow.tunnel.tunnel import Tunnel


class Ending:
    """That the tunnel shall go down, and what came of it."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.asked: asyncio.Future[tuple[ProviderStopReason, bool]] = loop.create_future()
        """Why, and whether the host stays as it is."""
        self._down: asyncio.Future[str | None] = loop.create_future()

    def ask(self, reason: ProviderStopReason, keep: bool = False) -> None:
        """Have it go down; the first who asks says why."""
        if not self.asked.done():
            self.asked.set_result((reason, keep))

    def down(self, failure: str | None) -> None:
        """It is down, or failed to go."""
        self._down.set_result(failure)

    async def over(self) -> None:
        """Return once it is down. Raises RemoteError when it failed to go."""
        failure = await asyncio.shield(self._down)
        if failure is not None:
            raise RemoteError(failure)


class Requests:
    """Answers requests about one tunnel."""

    def __init__(self, tunnel: Tunnel, rights: Rights, ending: Ending) -> None:
        self._tunnel = tunnel
        self._rights = rights
        self._ending = ending
        self._operations: dict[str, Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]] = {
            "status": self._status,
            "stop": self._stop,
            "reload": self._reload,
            "message": self._message,
            "exec": self._exec,
            "groups": self._groups,
        }

    async def handle(self, request: Request) -> dict[str, Any]:
        """The answer. Raises LocalError or RemoteError."""
        operation = self._operations.get(request.operation)
        if operation is None:
            accepted = ", ".join((*self._operations, "watch"))
            raise LocalError(f"no operation {request.operation!r}: there are {accepted}")
        return await operation(request.arguments)

    async def _status(self, _: dict[str, Any]) -> dict[str, Any]:
        await self._tunnel.check()
        return self._tunnel.status()

    async def _groups(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """What groups use; with a group and a member, after that was chosen."""
        group, member = arguments.get("group"), arguments.get("member")
        chosen = (str(group), str(member)) if group is not None and member is not None else None
        return {"groups": self._tunnel.groups(chosen)}

    async def _stop(self, arguments: dict[str, Any]) -> dict[str, Any]:
        keep = bool(arguments.get("keep"))
        self._ending.ask(ProviderStopReason.SUPERSEDED if keep else ProviderStopReason.USER_INITIATED, keep)
        await self._ending.over()
        return {"pid": os.getpid()}

    async def _exec(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return await self._tunnel.admit(bypass=arguments.get("bypass") is True)

    async def _message(self, arguments: dict[str, Any]) -> dict[str, Any]:
        try:
            data = base64.b64decode(str(arguments.get("data", "")), validate=True)
        except ValueError:
            raise LocalError("data: expected base64") from None
        answer = await self._tunnel.send_message(data)
        return {"data": None if answer is None else base64.b64encode(answer).decode()}

    async def _reload(self, arguments: dict[str, Any]) -> dict[str, Any]:
        profile = Instructions.from_data(arguments).make_profile()
        # Rules by the ten thousand take a while to read: flows go on meanwhile.
        plan = await asyncio.get_running_loop().run_in_executor(None, make_plan, profile, parse_dns)
        self._rights.check(plan)
        await self._tunnel.reload(plan)
        return self._tunnel.status()
