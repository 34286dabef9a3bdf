"""A plan in, a running tunnel out: device, stack, dialer and host settings, through changes of the network.

One asyncio task at a time changes the tunnel (`_changing`), all in the thread that carries the packets.

- Start: everything that can fail without touching the host comes first (links, names, the device, the server); then the
  host's settings, which either all stand or are all taken back.
- A change of the network: `reasserting`; flows whose path is gone are reset; the server's name is resolved again past
  the tunnel; the host's settings are applied again (the kernel takes routes away with an interface); once the server
  takes a connection the tunnel is `connected`. The device stays, and so do flows that can.
- Reload: a new plan is made whole before the old one is let go; running flows go on as they were decided.
- Stop: clients are told by resets, the host is put back, the device goes.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from tunflow.addresses import ip_address
from tunflow.dataplane import network_change as moving
from tunflow.dataplane.driver import Driver
from tunflow.dataplane.rule_policy import RulePolicy
from tunflow.endpoint import Address
from tunflow.errors import LocalError, RemoteError
from tunflow.host.network.settings import AppScope, HostSettings
from tunflow.host.network.uplinks import Uplinks
from tunflow.loop.path import Path
from tunflow.loop.trouble import seen
from tunflow.providers.status import ConnectionStatus
from tunflow.providers.stop_reason import ProviderStopReason
from tunflow.tunnel.app_groups import APPS, BYPASS, AppGroups
from tunflow.tunnel.local_end import Equipment, LocalEnd
from tunflow.tunnel.plan import Plan, with_addresses
from tunflow.tunnel.probe import probe
from tunflow.tunnel.server_names import ServerNames, literal
from tunflow.tunnel.tunnel import Tunnel
from tunflow.tunnel.ways import Find, Found, Ways, find_hops, make_ways

RETRY_AT_MOST = 15.0
"""Seconds between two tries to reach the server again; the first wait is half a second, each next twice as long."""

CHECK_PAUSE = 5.0
"""Seconds for which the answer of a server that was asked for a status counts."""

CHECK_PATIENCE = 2.0
"""Seconds for that answer: somebody waits."""

LOST_PATIENCE = 5.0
"""Seconds without any way out until flows are reset whose address is still there: a cable may be plugged in again."""


class Engine(Tunnel):
    """A tunnel through servers, and the rules that choose between them.

    It `takes_over` where another process left its settings on the host: they may lead into a tunnel that is gone, or
    let nothing out.
    """

    def __init__(self, plan: Plan, equipment: Equipment, groups: AppGroups, *, takes_over: bool = False) -> None:
        self.plan = plan
        self.ended = asyncio.get_running_loop().create_future()
        self._end = LocalEnd(plan, equipment)
        self._equipment = equipment
        self._say = equipment.say
        self._takes_over = takes_over
        self._names = ServerNames(self._end.sockets, equipment.outer_nameservers)
        self._groups = groups
        self._has_bypass = False
        self._found: Found = {}
        self._path = Uplinks()
        self._changing = asyncio.Lock()
        self._look_again = asyncio.Event()
        self._checked_at = -CHECK_PAUSE
        self._lost_at: float | None = None
        """When the last way out was gone; None while there is one."""
        self._follower: asyncio.Task[None] | None = None

    # What it is asked.

    async def start(self) -> None:
        """Bring the tunnel up. Raises LocalError or RemoteError, after which the host is as it was."""
        async with self._changing:
            self._end.enter(ConnectionStatus.CONNECTING)
            try:
                await self._start()
            except BaseException:
                self._end.take_down(failed=True)
                self._end.enter(ConnectionStatus.DISCONNECTED)
                raise
            self._end.enter(ConnectionStatus.CONNECTED)
            self._follower = asyncio.create_task(self._follow())

    async def stop(self, reason: ProviderStopReason, *, keep: bool = False) -> None:
        """Take the tunnel down; flows are reset. Raises LocalError."""
        if self._follower is not None:
            self._follower.cancel()
            with suppress(asyncio.CancelledError):
                await self._follower
        async with self._changing:
            self._end.stopping(reason)
            try:
                self._end.take_down(keep=keep)
            finally:
                self._end.enter(ConnectionStatus.DISCONNECTED)

    async def reload(self, plan: Plan) -> None:
        """Go on with another plan; running flows go on as they were decided. Raises LocalError or RemoteError."""
        async with self._changing:
            driver = self._end.driver
            if driver is None:
                raise LocalError("the tunnel is not up")
            if plan.host.addresses != self.plan.host.addresses or plan.host.mtu != self.plan.host.mtu:
                raise LocalError("the tunnel's own addresses and MTU cannot change while it is up: use up --replace")
            found = await self._find(plan, self._names.within)
            ways = make_ways(plan, found)
            await probe(_all(found), self._end.sockets)
            # Flows that began under the old plan go on to the old servers.
            self._apply(plan, (*_all(found), *_all(self._found)))
            before = self.plan, self._found
            self.plan, self._found = plan, found
            try:
                self._use(driver, ways)
            except LocalError:
                self.plan, self._found = before
                self._apply(self.plan, _all(self._found))
                self._use(driver, make_ways(self.plan, self._found))
                raise
            self._say(f"reloaded: {', '.join(plan.labels)}")

    async def admit(self, *, bypass: bool) -> dict[str, Any]:
        """The control group of programs in the tunnel, or around it, if they have to join one. Raises LocalError."""
        only = self.plan.host.scope is AppScope.ONLY
        if bypass is only:
            # It would be so without doing anything, but for the name servers.
            return {"group": None, "nameservers": []}
        self._groups.require()
        if only:
            resolvers = [str(ip_address(address)) for address in self.plan.inside] if self.plan.names else []
            return {"group": APPS, "nameservers": sorted(resolvers)}
        async with self._changing:
            if not self._has_bypass:
                self._has_bypass = True
                try:
                    self._apply(self.plan, _all(self._found))
                except LocalError:
                    self._has_bypass = False
                    raise
        return {"group": BYPASS, "nameservers": list(self._equipment.outer_nameservers()) if self.plan.names else []}

    async def check(self) -> None:
        """Ask the servers, unless that was done just now, whether they take connections."""
        driver, addresses = self._end.driver, _all(self._found)
        if driver is None or not addresses or self._end.state is not ConnectionStatus.CONNECTED:
            return
        if driver.context.reactor.now - self._checked_at < CHECK_PAUSE:
            return
        self._checked_at = driver.context.reactor.now
        try:
            await probe(addresses, self._end.sockets, CHECK_PATIENCE)
        except RemoteError as error:
            self._end.unreachable = seen(self._end.unreachable, str(error), driver.context.reactor.now)
        else:
            self._end.unreachable = None
            driver.context.servers.reachable()

    def status(self) -> dict[str, Any]:
        """The facts of `status --json`."""
        return self._end.facts(self.plan, str(self._path))

    def groups(self, select: tuple[str, str] | None = None) -> list[dict[str, Any]]:
        """The groups of servers and what they use, after `select` (a group and its member). Raises LocalError."""
        policy = self._end.driver.admission.policy if self._end.driver is not None else None
        if not isinstance(policy, RulePolicy):
            raise LocalError("the tunnel that is up has no groups: its profile has no rules")
        if select is not None:
            policy.routing.groups.select(*select)
            self._say(f"group {select[0]}: {select[1]} from now on")
        return policy.routing.groups.facts()

    # Up.

    async def _start(self) -> None:
        plan = self.plan
        if plan.host.cgroups:
            self._groups.require()
        found = await self._find(plan, self._names.within if self._takes_over else self._names.before)
        ways = make_ways(plan, found)
        if not self._takes_over:
            await probe(_all(found), self._end.sockets)
        self._apply(plan, _all(found))
        if self._takes_over:
            await probe(_all(found), self._end.sockets)  # until now a kill switch may have let nothing but the old out
        self._found = found
        self._use(self._end.make_driver(plan, ways.dialer), ways)
        self._end.watch(self._look_again.set, self._woke)
        self._path = self._look()

    def _woke(self, slept: float) -> None:
        """The machine slept for so many seconds: what was known of the network is old, and NATs have forgotten us."""
        self._say(f"the machine slept for {slept:.0f} s")
        if self._end.driver is not None:
            moving.doubt(self._end.driver)
        self._path = Uplinks()
        self._look_again.set()

    # Servers.

    async def _find(self, plan: Plan, find: Find) -> Found:
        """The first hops' addresses. Raises LocalError or RemoteError when there are some and none is found."""
        found, failures = await find_hops(plan, find, self._found)
        for failure in failures:
            self._say(failure)
        return found

    def _use(self, driver: Driver, ways: Ways) -> None:
        admission, routing = driver.admission, ways.routing
        policy = admission.policy if isinstance(admission.policy, RulePolicy) else None
        if routing is None and policy is not None:
            policy.close()
            policy = None
        elif policy is not None and routing is not None:
            policy.reload(routing)  # what users chose in groups stays chosen
        elif routing is not None:
            policy = RulePolicy(routing, driver.context)
        admission.use(ways.dialer, policy)
        self._equipment.serve_names(driver, self.plan)

    def _apply(self, plan: Plan, addresses: Sequence[Address]) -> None:
        """Make the host as a plan says, with its servers at `addresses`. Raises LocalError."""
        self._end.host.apply(self._settings(plan, addresses))

    def _settings(self, plan: Plan, addresses: Sequence[Address]) -> HostSettings:
        host = plan.host
        if self._has_bypass and host.scope is AppScope.BYPASS:
            host = replace(host, cgroups=(*host.cgroups, BYPASS))
        if plan.goes_direct:
            return with_addresses(host, None)
        servers = [*(str(address.sockaddr[0]) for address in addresses), *plan.outer_resolvers]
        if not all(literal(host) for host, _ in plan.first_hops):
            servers += self._equipment.outer_nameservers()
        return with_addresses(host, tuple(servers))

    # Changes.

    async def _follow(self) -> None:
        """Take in every change of the network, one after the other, until cancelled."""
        delay = retry = 0.0
        while True:
            await self._wait(delay)
            try:
                async with self._changing:
                    delay = await self._take_in()
                    retry = 0.0
            except (RemoteError, LocalError, OSError) as error:
                self._say(f"not connected yet: {error}")
                delay = retry = min(RETRY_AT_MOST, max(0.5, retry * 2))

    async def _wait(self, delay: float) -> None:
        """Until the network changes, or for `delay` seconds if that is not 0."""
        with suppress(TimeoutError):
            async with asyncio.timeout(delay or None):
                await self._look_again.wait()
        self._look_again.clear()

    async def _take_in(self) -> float:
        """Look at the network and follow it; the seconds after which to look again though nothing changes, or 0.

        Raises RemoteError, LocalError or OSError when the way to the server is not found yet.
        """
        driver = self._end.driver
        assert driver is not None
        name = self.plan.host.device
        if not any(link.name == name for link in self._end.query.links().values()):
            if not self.ended.done():
                self.ended.set_result(f"the device {name} is gone")
            return 0
        path = self._look()
        if path == self._path and self._end.state is ConnectionStatus.CONNECTED:
            self._apply(self.plan, _all(self._found))
            self._reset_lost(driver)
            return 0
        if path != self._path or self._end.state is ConnectionStatus.CONNECTED:
            self._say(f"the network changed: {path}")
        self._path = path
        self._end.enter(ConnectionStatus.REASSERTING)
        if not path.is_satisfied:
            return self._sit_out(driver)
        self._lost_at = None
        await self._reassert(driver)
        self._end.enter(ConnectionStatus.CONNECTED)
        self._say("connected again")
        return 0

    def _sit_out(self, driver: Driver) -> float:
        """There is no way out: for a while only the flows are reset whose address has left; when to look again."""
        now = asyncio.get_running_loop().time()
        self._lost_at = now if self._lost_at is None else self._lost_at
        patience = self._lost_at + LOST_PATIENCE - now
        if patience <= 0:
            self._reset_lost(driver)
            return 0
        here = self._end.finder.local()
        self._leave(driver, {path for path in moving.paths(driver) if path[0] not in here})
        return patience

    async def _reassert(self, driver: Driver) -> None:
        plan = self.plan
        self._apply(plan, _all(self._found))
        self._reset_lost(driver)
        found = await self._find(plan, self._names.within)
        if found != self._found:
            self._apply(plan, _all(found))
            self._found = found
            self._use(driver, make_ways(plan, found))
        await probe(_all(found), self._end.sockets)

    def _reset_lost(self, driver: Driver) -> None:
        """Reset the flows that will not hear from their far side again."""
        on = moving.paths(driver)
        self._leave(driver, on - self._end.finder.surviving(on))

    def _leave(self, driver: Driver, gone: set[Path]) -> None:
        ended = moving.leave(driver, gone) if gone else 0
        if ended:
            self._say(f"{ended} flows were reset: their path is gone")

    def _look(self) -> Uplinks:
        return self._end.finder.look([_packed(address) for address in _all(self._found)])


def _all(found: Found) -> tuple[Address, ...]:
    return tuple(dict.fromkeys(address for addresses in found.values() for address in addresses))


def _packed(address: Address) -> bytes:
    return socket.inet_pton(address.family, str(address.sockaddr[0]))
