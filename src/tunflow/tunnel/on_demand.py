"""A tunnel that is up only while its on-demand rules want it: tunnels come and go, the process stays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol

from tunflow.errors import LocalError, RemoteError
from tunflow.host.netlink.monitor import NetworkMonitor
from tunflow.host.netlink.route_query import RouteQuery
from tunflow.host.network.network_facts import network_path
from tunflow.host.network.settings import HostSettings
from tunflow.host.network.uplinks import PathFinder
from tunflow.loop.sockets import SocketOptions
from tunflow.outbound.delay_round import DelayListener
from tunflow.providers.network_path import NetworkPath
from tunflow.providers.on_demand import OnDemandRule, Probe, Question
from tunflow.providers.status import ConnectionStatus
from tunflow.providers.stop_reason import ProviderStopReason
from tunflow.tunnel import web_probe
from tunflow.tunnel.on_demand_rules import OnDemand
from tunflow.tunnel.plan import Plan
from tunflow.tunnel.server_names import ServerNames
from tunflow.tunnel.tunnel import Tunnel, facts


class ClosedHost(Protocol):
    """What can hold everything on this host while no tunnel is there."""

    settings: HostSettings | None
    """What is in force."""

    def apply(self, settings: HostSettings) -> None:
        """As `SystemNetwork.apply`. Raises LocalError."""

    def undo(self) -> None:
        """As `SystemNetwork.undo`. Raises LocalError."""

    def stay(self, *, closed: bool) -> None:
        """As `HelperNetwork.stay`. Raises LocalError."""


class DemandedTunnel(Tunnel):
    """Follows the plan's on-demand rules with tunnels from `make_tunnel`.

    With the kill switch nothing goes out from the moment that the rules want a tunnel until they want none: not while
    it connects, not when its server does not answer, not when it ends by itself.
    """

    def __init__(
        self,
        plan: Plan,
        make_tunnel: Callable[[Plan], Tunnel],
        host: ClosedHost,
        outer_nameservers: Callable[[], Sequence[str]],
        say: Callable[[str], None],
    ) -> None:
        """Raises LocalError when there are no rules."""
        self.plan = plan
        self.ended = asyncio.get_running_loop().create_future()
        self._tunnel: Tunnel | None = None
        """The one that is up, or comes."""
        self._is_ending = False
        """True while one goes: the host is not as it was yet."""
        self._make_tunnel = make_tunnel
        self._host = host
        self.is_held = False
        """True if the host stays closed until the rules want no tunnel."""
        self._outer = outer_nameservers
        self._say = say
        self._sockets = SocketOptions(mark=plan.host.mark)
        self._query = RouteQuery()
        self._finder = PathFinder(self._query, plan.host.mark, plan.host.device)
        rules = _rules(plan)
        if not rules:
            raise LocalError(f"{plan.at('on_demand', 'rules')}: on_demand.rules is empty: there is nothing to follow")
        self._demand = OnDemand(rules, self._look, self._ask, self, say)
        self._following: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to follow the rules; return once that was done, whether a tunnel came up or not. Raises OSError."""
        following = self._following = asyncio.create_task(self._follow())
        settled = asyncio.create_task(self._demand.settled.wait())
        try:
            await asyncio.wait((following, settled), return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                following.result()
        except BaseException:
            await self.stop(ProviderStopReason.NONE)
            raise
        finally:
            settled.cancel()
        following.add_done_callback(self._followed)

    async def stop(self, reason: ProviderStopReason, *, keep: bool = False) -> None:
        """Follow the rules no more, and take down what is up. Raises LocalError."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait((self._following,))
        await self.disconnect(reason, keep=keep)

    async def _follow(self) -> None:
        monitor = NetworkMonitor(self._demand.changed, lambda _: self._demand.again())
        try:
            await self._demand.run()
        finally:
            monitor.close()
            self._query.close()

    def _followed(self, following: asyncio.Task[None]) -> None:
        if not following.cancelled():
            self.ended.set_result(f"the on-demand rules cannot be followed: {following.exception()}")

    # What the rules ask for.

    @property
    def is_up(self) -> bool:
        """True if there is a tunnel."""
        return self._tunnel is not None

    async def connect(self) -> None:
        """Bring the tunnel up. Raises LocalError or RemoteError."""
        if self._tunnel is not None:
            return
        self._hold()
        tunnel = self._tunnel = self._make_tunnel(self.plan)
        try:
            await tunnel.start()
        except BaseException:
            self._tunnel = None
            raise
        tunnel.ended.add_done_callback(lambda ended: self._say(ended.result()) if not ended.cancelled() else None)
        tunnel.ended.add_done_callback(lambda _: asyncio.ensure_future(self._restart(tunnel)))

    async def disconnect(self, reason: ProviderStopReason = ProviderStopReason.NONE, *, keep: bool = False) -> None:
        """Take the tunnel down, if it is up. Raises LocalError."""
        was_held = self.is_held
        try:
            if not keep:
                self._stay_closed(False)
        finally:  # what is up ends although nobody can open the host
            if self._tunnel is not None:
                await self._end_tunnel(reason, keep=keep)
            elif was_held and not keep:
                self._host.undo()

    async def _end_tunnel(self, reason: ProviderStopReason, *, keep: bool = False) -> None:
        """Raises LocalError."""
        tunnel, self._tunnel = self._tunnel, None
        assert tunnel is not None
        self._is_ending = True
        try:
            await tunnel.stop(reason, keep=keep)
        finally:
            self._is_ending = False
            tunnel.ended.cancel()

    def _hold(self) -> None:
        """Close the host where there is a kill switch, until `disconnect`. Raises LocalError."""
        was_held = self.is_held
        if self.plan.host.kill_switch:
            self._host.apply(replace(self.plan.host, dns=None, carry_dns=True))
        self._stay_closed(self.plan.host.kill_switch)
        if was_held and not self.is_held:
            self._host.undo()

    def _stay_closed(self, closed: bool) -> None:
        """Raises LocalError."""
        if closed != self.is_held:
            self._host.stay(closed=closed)
            self.is_held = closed

    # What it is asked.

    async def reload(self, plan: Plan) -> None:
        """Go on with another plan, and judge anew. Raises LocalError or RemoteError, and then nothing has changed."""
        rules = _rules(plan)
        if self._tunnel is not None:
            await self._tunnel.reload(plan)
            self._stay_closed(plan.host.kill_switch)
        self.plan = plan
        self._demand.use(rules)

    async def check(self) -> None:
        """As the tunnel that is up does."""
        if self._tunnel is not None:
            await self._tunnel.check()

    def status(self) -> dict[str, Any]:
        """The facts of `status --json`, and what the rules said last."""
        outcome = self._demand.outcome
        demand = {
            "action": outcome.action.name.lower() if outcome else None,
            "rule": outcome.rule + 1 if outcome is not None and outcome.rule is not None else None,
        }
        if self._tunnel is not None:
            stands = self._tunnel.status()
        else:
            stands = facts(self.plan, self._without_a_tunnel(), path=self._demand.where)
        return {**stands, "on_demand": demand}

    def _without_a_tunnel(self) -> ConnectionStatus:
        if self.is_held:
            return ConnectionStatus.CONNECTING
        return ConnectionStatus.DISCONNECTING if self._is_ending else ConnectionStatus.DISCONNECTED

    async def admit(self, *, bypass: bool) -> dict[str, Any]:
        """As the tunnel says that is up. Raises LocalError."""
        if self._tunnel is None:
            raise LocalError("the tunnel is not up now: its on-demand rules do not want it")
        return await self._tunnel.admit(bypass=bypass)

    async def show_portal(self, pid: int) -> dict[str, Any]:
        """As the tunnel that is up says. Raises LocalError or RemoteError."""
        return await (super().show_portal(pid) if self._tunnel is None else self._tunnel.show_portal(pid))

    def groups(self, select: tuple[str, str] | None = None) -> list[dict[str, Any]]:
        """As the tunnel says that is up. Raises LocalError."""
        return super().groups(select) if self._tunnel is None else self._tunnel.groups(select)

    def measure(self, group: str | None, told: DelayListener) -> list[str]:
        """As the tunnel says that is up. Raises LocalError."""
        return super().measure(group, told) if self._tunnel is None else self._tunnel.measure(group, told)

    async def send_message(self, data: bytes) -> bytes | None:
        """To the provider of the tunnel that is up. Raises LocalError or RemoteError."""
        return await (super().send_message(data) if self._tunnel is None else self._tunnel.send_message(data))

    # What it does for that.

    async def _restart(self, tunnel: Tunnel) -> None:
        """The tunnel could not go on: take down what is left, but not what is held, and let the rules decide anew."""
        if self._tunnel is tunnel:
            with suppress(LocalError, RemoteError):
                await self._end_tunnel(ProviderStopReason.PROVIDER_FAILED)
            self._demand.changed()

    async def _look(self) -> NetworkPath:
        return await network_path(self._finder, self._outer())

    async def _ask(self, question: Question) -> bool:
        narrow = self._host.settings
        if narrow is None or not narrow.kill_switch or narrow.servers is None:
            return await self._answer(question)
        wide = replace(narrow, servers=None)  # for our own packets alone: others are not marked
        with suppress(LocalError):  # then the answer is no
            self._host.apply(wide)
        try:
            return await self._answer(question)
        finally:
            if self._host.settings == wide:
                self._host.apply(narrow)

    async def _answer(self, question: Question) -> bool:
        if isinstance(question, Probe):
            return await web_probe.answers(question.url, ServerNames(self._sockets, self._outer), self._sockets)
        names = ServerNames(self._sockets, lambda: question.servers or self._outer())
        with suppress(RemoteError):
            return bool(await names.within(question.name, 0))
        return False


def _rules(plan: Plan) -> tuple[OnDemandRule, ...]:
    return () if plan.profile is None else plan.profile.on_demand.made()
