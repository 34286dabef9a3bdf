"""What clients ask of the process that serves a tunnel, over its control socket."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

from tunflow.cli.instructions import Instructions
from tunflow.cli.rights import Rights
from tunflow.control.messages import ControlEvent, ControlRequest
from tunflow.errors import LocalError, RemoteError
from tunflow.host.network.settings import AppScope, HostSettings
from tunflow.providers.stop_reason import ProviderStopReason
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

    def __init__(
        self,
        tunnel: Tunnel,
        started: Instructions,
        rights: Rights,
        ending: Ending,
        tell: Callable[[ControlEvent], None],
        say: Callable[[str], None],
        api: str | None = None,
    ) -> None:
        """`started` are the instructions that the tunnel was started with; `say` writes to its log, `tell` brings an
        event to everybody who watches; `api` is where dashboards are served, if they are."""
        self._api = api
        self._started = started
        self._say = say
        self._tunnel = tunnel
        self._rights = rights
        self._ending = ending
        self._tell = tell
        self._operations: dict[str, Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]] = {
            "status": self._status,
            "stop": self._stop,
            "reload": self._reload,
            "message": self._message,
            "exec": self._exec,
            "groups": self._groups,
            "measure": self._measure,
            "portal": self._portal,
        }

    async def handle(self, request: ControlRequest) -> dict[str, Any]:
        """The answer. Raises LocalError or RemoteError."""
        operation = self._operations.get(request.operation)
        if operation is None:
            accepted = ", ".join((*self._operations, "watch"))
            raise LocalError(f"no operation {request.operation!r}: there are {accepted}")
        return await operation(request.arguments)

    async def _status(self, _: dict[str, Any]) -> dict[str, Any]:
        await self._tunnel.check()
        return self._facts()

    def _facts(self) -> dict[str, Any]:
        return {**self._tunnel.status(), **self._rights.link.facts, "api": self._api}

    async def _groups(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """What groups use; with a group and a member, after that was chosen."""
        group, member = arguments.get("group"), arguments.get("member")
        chosen = (str(group), str(member)) if group is not None and member is not None else None
        return {"groups": self._tunnel.groups(chosen)}

    async def _measure(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Which servers are asked how they do; what each says follows as an event "delay"."""
        group = arguments.get("group")

        def told(server: str, delay: float | None) -> None:
            self._tell(ControlEvent("delay", {"server": server, "delay": delay}))

        return {"servers": self._tunnel.measure(str(group) if group is not None else None, told)}

    async def _stop(self, arguments: dict[str, Any]) -> dict[str, Any]:
        keep = bool(arguments.get("keep"))
        self._ending.ask(ProviderStopReason.SUPERSEDED if keep else ProviderStopReason.USER_INITIATED, keep)
        await self._ending.over()
        return {"pid": self._rights.link.supervisor}

    async def _exec(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return await self._tunnel.admit(bypass=arguments.get("bypass") is True)

    async def _portal(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Open the way to the network's login page for the process that asks."""
        pid = arguments.get("pid")
        if not isinstance(pid, int) or isinstance(pid, bool) or pid < 1:
            raise LocalError("pid: expected the number of the process that shows the page")
        try:
            return await self._tunnel.show_portal(pid)
        except OSError as error:
            raise LocalError(f"process {pid}: {error.strerror}") from None

    async def _message(self, arguments: dict[str, Any]) -> dict[str, Any]:
        try:
            data = base64.b64decode(str(arguments.get("data", "")), validate=True)
        except ValueError:
            raise LocalError("data: expected base64") from None
        answer = await self._tunnel.send_message(data)
        return {"data": None if answer is None else base64.b64encode(answer).decode()}

    async def _reload(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from tunflow.tunnel.compile import compile_profile  # noqa: PLC0415 - what reads profiles, for a reload alone
        from tunflow.tunnel.rule_lists import RuleLists  # noqa: PLC0415

        instructions = Instructions.from_data(arguments)
        profile = instructions.as_started(self._started).make_profile()
        notes: list[str] = []
        compiles = partial(compile_profile, profile, RuleLists(profile, notes.append), lasting=True)
        # Rules by the ten thousand take a while to read: flows go on meanwhile.
        plan = await asyncio.get_running_loop().run_in_executor(None, compiles)
        self._rights.check(plan)
        before = self._tunnel.plan.host
        await self._tunnel.reload(plan)
        for line in changed_switches(before, plan.host):
            self._say(line)
            notes.append(line)
        self._rights.remember(asdict(instructions))
        return {**self._facts(), "notes": notes}


def changed_switches(before: HostSettings, after: HostSettings) -> Iterator[str]:
    """A line for each switch of the host that another plan turns, for people: none goes unsaid."""
    if before.kill_switch != after.kill_switch:
        yield "the kill switch is on now" if after.kill_switch else "the kill switch is off now: it was not asked for"
    if before.exclude_lan != after.exclude_lan:
        where = "reached directly" if after.exclude_lan else "behind the tunnel"
        yield f"the networks that this machine is in are {where} now"
    if before.scope is not after.scope:
        who = "only programs of tunflow exec use" if after.scope is AppScope.ONLY else "all programs use"
        yield f"{who} the tunnel now"
    if before.gateways != after.gateways:
        yield f"traffic is carried for the hosts behind {', '.join(after.gateways) or 'no interface'} now"
