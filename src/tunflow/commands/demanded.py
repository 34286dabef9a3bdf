"""A tunnel that is up only while its on-demand rules want it: engines come and go, the process stays."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from tunflow.errors import LocalError, RemoteError
from tunflow.host.monitor import NetworkMonitor
from tunflow.host.network_facts import describe
from tunflow.host.route_query import RouteQuery
from tunflow.host.uplinks import PathFinder
from tunflow.io.sockets import SocketOptions
from tunflow.manager import web_probe
from tunflow.manager.engine import Engine
from tunflow.manager.on_demand import OnDemand
from tunflow.manager.plan import Plan
from tunflow.manager.provider_engine import ProviderEngine
from tunflow.manager.server_names import ServerNames
from tunflow.providers.network_path import NetworkPath
from tunflow.providers.on_demand import Probe, Question
from tunflow.providers.status import ConnectionStatus
from tunflow.providers.stop_reason import ProviderStopReason


class DemandedTunnel:
    """Follows the plan's on-demand rules with engines from `make_engine`, until `run` is cancelled."""

    def __init__(
        self,
        plan: Plan,
        make_engine: Callable[[Plan], Engine | ProviderEngine],
        outer_nameservers: Callable[[], Sequence[str]],
        say: Callable[[str], None],
    ) -> None:
        self.plan = plan
        self.engine: Engine | ProviderEngine | None = None
        """The one that is up, or comes or goes."""
        self._make_engine = make_engine
        self._outer = outer_nameservers
        self._say = say
        self._sockets = SocketOptions(mark=plan.host.mark)
        self._query = RouteQuery()
        if not plan.profile.on_demand.rules:
            raise LocalError(
                f"{plan.profile.at('on_demand', 'rules')}: on_demand.rules is empty: there is nothing to follow"
            )
        self._demand = OnDemand(plan.profile.on_demand.made(), self._look, self._ask, self, say)
        self.settled = self._demand.settled

    @property
    def is_up(self) -> bool:
        """Whether there is a tunnel."""
        return self.engine is not None

    async def run(self) -> None:
        """Follow the rules; the tunnel stays as it is when this is cancelled."""
        monitor = NetworkMonitor(self._demand.changed, lambda _: self._demand.again())
        try:
            await self._demand.run()
        finally:
            monitor.close()
            self._query.close()

    async def connect(self) -> None:
        """Bring the tunnel up. Raises LocalError or RemoteError."""
        if self.engine is not None:
            return
        engine = self.engine = self._make_engine(self.plan)
        try:
            await engine.start()
        except BaseException:
            self.engine = None
            raise
        engine.ended.add_done_callback(lambda ended: self._say(ended.result()) if not ended.cancelled() else None)
        engine.ended.add_done_callback(lambda _: asyncio.ensure_future(self._restart(engine)))

    async def disconnect(self, reason: ProviderStopReason = ProviderStopReason.NONE, *, keep: bool = False) -> None:
        """Take the tunnel down, if it is up. Raises LocalError."""
        engine, self.engine = self.engine, None
        if engine is not None:
            try:
                await engine.stop(reason, keep=keep)
            finally:
                engine.ended.cancel()

    async def reload(self, plan: Plan) -> None:
        """Go on with another plan. Raises LocalError or RemoteError, and then nothing has changed."""
        if self.engine is not None:
            await self.engine.reload(plan)
        self.plan = plan
        self._demand.use(plan.profile.on_demand.made())

    def status(self) -> dict[str, Any]:
        """The facts of `status --json`."""
        outcome = self._demand.outcome
        demand = {
            "action": outcome.action.name.lower() if outcome else None,
            "rule": outcome.rule + 1 if outcome is not None and outcome.rule is not None else None,
        }
        if self.engine is not None:
            return {**self.engine.status(), "on_demand": demand}
        return {
            "status": ConnectionStatus.DISCONNECTED.word,
            "pid": os.getpid(),
            "device": None,
            "profile": self.plan.profile.file or None,
            "servers": list(self.plan.labels),
            "since": None,
            "bytes_in": 0,
            "bytes_out": 0,
            "flows": 0,
            "kill_switch": False,
            "path": self._demand.where,
            "on_demand": demand,
        }

    async def _restart(self, engine: Engine | ProviderEngine) -> None:
        """The tunnel could not go on: take down what is left and let the rules decide anew."""
        if self.engine is engine:
            with suppress(LocalError, RemoteError):
                await self.disconnect(ProviderStopReason.PROVIDER_FAILED)
            self._demand.changed()

    async def _look(self) -> NetworkPath:
        path = PathFinder(self._query, self.plan.host.mark, self.plan.host.device).look([])
        return await asyncio.to_thread(describe, path, self._outer())

    async def _ask(self, question: Question) -> bool:
        if isinstance(question, Probe):
            return await web_probe.answers(question.url, ServerNames(self._sockets, self._outer), self._sockets)
        names = ServerNames(self._sockets, lambda: question.servers or self._outer())
        with suppress(RemoteError):
            return bool(await names.within(question.name, 0))
        return False
