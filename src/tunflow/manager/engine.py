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
import os
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any, Protocol

from tunflow.errors import LocalError, RemoteError
from tunflow.host.monitor import NetworkMonitor
from tunflow.host.route_query import RouteQuery
from tunflow.host.settings import AppScope, HostSettings
from tunflow.host.tun import TunDevice
from tunflow.host.uplinks import PathFinder, Uplinks
from tunflow.io import moving
from tunflow.io.dialer import Address
from tunflow.io.dialers import Dialer
from tunflow.io.driver import Driver
from tunflow.io.rule_policy import RulePolicy
from tunflow.io.sockets import SocketOptions
from tunflow.manager.app_groups import APPS, BYPASS, AppGroups
from tunflow.manager.plan import Plan, with_addresses
from tunflow.manager.probe import probe
from tunflow.manager.server_names import ServerNames, literal
from tunflow.manager.ways import Find, Found, Ways, find_hops, make_ways
from tunflow.providers.status import ConnectionStatus
from tunflow.providers.stop_reason import ProviderStopReason

RETRY_AT_MOST = 15.0
"""Seconds between two tries to reach the server again; the first wait is half a second, each next twice as long."""

LOST_PATIENCE = 5.0
"""Seconds without any way out until flows are reset whose address is still there: a cable may be plugged in again."""


class Host(Protocol):
    """What the engine asks of the host."""

    @property
    def device(self) -> TunDevice | None:
        """The TUN device, from the first `apply` to `undo`."""

    def apply(self, settings: HostSettings) -> None:
        """Make the host as `settings` say. Raises LocalError, and then what was before is in force."""

    def undo(self, *, keep_kill_switch: bool = False) -> None:
        """Put everything back as it was; or not a kill switch that was found there. Raises LocalError."""


MakeDriver = Callable[[TunDevice, Dialer, Plan, SocketOptions], Driver]


class Engine:
    """One tunnel. `say` is told what happens, in lines for people; `changed` when the status changes.

    `outer_nameservers` gives the name servers that the network outside the tunnel has. It `takes_over` where another
    process left its settings on the host: they may lead into a tunnel that is gone, or let nothing out.
    """

    def __init__(
        self,
        plan: Plan,
        host: Host,
        outer_nameservers: Callable[[], Sequence[str]],
        make_driver: MakeDriver,
        serve_names: Callable[[Driver, Plan], None],
        groups: AppGroups,
        say: Callable[[str], None],
        changed: Callable[[ConnectionStatus], None] = lambda _: None,
        *,
        takes_over: bool = False,
    ) -> None:
        self.plan = plan
        self.state = ConnectionStatus.DISCONNECTED
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Done with a line that says why, when the tunnel cannot go on."""
        self._host = host
        self._make_driver = make_driver
        self._serve_names = serve_names
        self._say = say
        self._changed = changed
        self._takes_over = takes_over
        self._sockets = SocketOptions(mark=plan.host.mark)
        self._names = ServerNames(self._sockets, outer_nameservers)
        self._outer_nameservers = outer_nameservers
        self._groups = groups
        self._has_bypass = False
        self._found: Found = {}
        self._since: float | None = None
        self._driver: Driver | None = None
        self._monitor: NetworkMonitor | None = None
        self._query = RouteQuery()
        self._path = Uplinks()
        self._changing = asyncio.Lock()
        self._look_again = asyncio.Event()
        self._lost_at: float | None = None
        """When the last way out was gone; None while there is one."""
        self._follower: asyncio.Task[None] | None = None

    # What it is asked.

    async def start(self) -> None:
        """Bring the tunnel up. Raises LocalError or RemoteError, after which the host is as it was."""
        async with self._changing:
            self._enter(ConnectionStatus.CONNECTING)
            try:
                await self._start()
            except BaseException:
                self._take_down(failed=True)
                self._enter(ConnectionStatus.DISCONNECTED)
                raise
            self._enter(ConnectionStatus.CONNECTED)
            self._follower = asyncio.create_task(self._follow())

    async def stop(self, reason: ProviderStopReason, *, keep: bool = False) -> None:
        """Take the tunnel down and put the host back. Raises LocalError when that failed.

        With `keep` the host stays as it is, for another process that takes over what is recorded.
        """
        if self._follower is not None:
            self._follower.cancel()
            with suppress(asyncio.CancelledError):
                await self._follower
        async with self._changing:
            self._enter(ConnectionStatus.DISCONNECTING)
            self._say(f"stopping: {reason.name.lower().replace('_', ' ')}")
            try:
                self._take_down(keep=keep)
            finally:
                self._enter(ConnectionStatus.DISCONNECTED)

    async def reload(self, plan: Plan) -> None:
        """Go on with another plan. Raises LocalError or RemoteError, after which the old one runs on."""
        async with self._changing:
            driver = self._driver
            if driver is None:
                raise LocalError("the tunnel is not up")
            if plan.host.addresses != self.plan.host.addresses or plan.host.mtu != self.plan.host.mtu:
                raise LocalError("the tunnel's own addresses and MTU cannot change while it is up: use up --replace")
            found = await self._find(plan, self._names.within)
            ways = make_ways(plan, found)
            await probe(_all(found), self._sockets)
            # Flows that began under the old plan go on to the old servers.
            self._host.apply(self._settings(plan, (*_all(found), *_all(self._found))))
            before = self.plan, self._found
            self.plan, self._found = plan, found
            try:
                self._use(driver, ways)
            except LocalError:
                self.plan, self._found = before
                self._host.apply(self._settings(self.plan, _all(self._found)))
                self._use(driver, make_ways(self.plan, self._found))
                raise
            self._say(f"reloaded: {', '.join(plan.labels)}")

    async def admit(self, *, bypass: bool) -> dict[str, Any]:
        """How a program comes to use the tunnel, or to go around it: the control group to join, None for none, and the
        name servers to ask. Raises LocalError."""
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
                    self._host.apply(self._settings(self.plan, _all(self._found)))
                except LocalError:
                    self._has_bypass = False
                    raise
        return {"group": BYPASS, "nameservers": list(self._outer_nameservers()) if self.plan.names else []}

    def status(self) -> dict[str, Any]:
        """The facts of `status --json`; no secrets."""
        statistics = self._driver.statistics if self._driver is not None else None
        bytes_in = bytes_out = flows = 0
        if self._driver is not None and statistics is not None:
            bytes_in = statistics.tcp_bytes_down + statistics.udp_bytes_down
            bytes_out = statistics.tcp_bytes_up + statistics.udp_bytes_up
            flows = len(self._driver.relays) + self._driver.associations
        since = None if self._since is None else datetime.fromtimestamp(self._since, UTC).isoformat(timespec="seconds")
        return {
            "status": self.state.word,
            "pid": os.getpid(),
            "device": self._host.device.name if self._host.device is not None else None,
            "profile": self.plan.profile.file or None,
            "servers": list(self.plan.labels),
            "since": since,
            "bytes_in": bytes_in,
            "bytes_out": bytes_out,
            "flows": flows,
            "kill_switch": self.plan.host.kill_switch,
            "path": str(self._path),
        }

    def groups(self, select: tuple[str, str] | None = None) -> list[dict[str, Any]]:
        """The groups of servers and what they use, after `select` (a group and its member). Raises LocalError."""
        policy = self._driver.policy if self._driver is not None else None
        if not isinstance(policy, RulePolicy):
            raise LocalError("the tunnel that is up has no groups: its profile has no rules")
        if select is not None:
            policy.routing.groups.select(*select)
            self._say(f"group {select[0]}: {select[1]} from now on")
        return policy.routing.groups.facts()

    # The network around it.

    def network_changed(self) -> None:
        """Links, addresses or routes changed."""
        self._look_again.set()

    def woke(self, slept: float) -> None:
        """The machine slept for so many seconds: what was known of the network is old, and NATs have forgotten us."""
        self._say(f"the machine slept for {slept:.0f} s")
        if self._driver is not None:
            moving.doubt(self._driver)
        self._path = Uplinks()
        self._look_again.set()

    # Up and down.

    async def _start(self) -> None:
        plan = self.plan
        if plan.host.cgroups:
            self._groups.require()
        found = await self._find(plan, self._names.within if self._takes_over else self._names.before)
        ways = make_ways(plan, found)
        if not self._takes_over:
            await probe(_all(found), self._sockets)
        self._host.apply(self._settings(plan, _all(found)))
        if self._takes_over:
            await probe(_all(found), self._sockets)  # until now a kill switch may have let nothing but the old out
        assert self._host.device is not None
        self._found = found
        self._driver = self._make_driver(self._host.device, ways.dialer, plan, self._sockets)
        self._use(self._driver, ways)
        self._monitor = NetworkMonitor(self.network_changed, self.woke)
        self._path = self._look()

    def _take_down(self, *, keep: bool = False, failed: bool = False) -> None:
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None
        if self._driver is not None:
            moving.reset_all(self._driver)
            self._driver.close()
        try:
            if not keep:
                self._host.undo(keep_kill_switch=failed)
        finally:
            self._query.close()

    def _enter(self, state: ConnectionStatus) -> None:
        if state is self.state:
            return
        if state is ConnectionStatus.CONNECTED and self._since is None:
            self._since = time.time()
        self.state = state
        self._changed(state)

    # Servers.

    async def _find(self, plan: Plan, find: Find) -> Found:
        """The first hops' addresses. Raises LocalError or RemoteError when there are some and none is found."""
        found, failures = await find_hops(plan, find, self._found)
        for failure in failures:
            self._say(failure)
        return found

    def _use(self, driver: Driver, ways: Ways) -> None:
        policy, before = ways.policy, driver.policy
        if isinstance(before, RulePolicy):
            if policy is not None:
                before.reload(policy.routing)  # what users chose in groups stays chosen
                policy = before
            else:
                before.close()
        driver.use(ways.dialer, self.plan.resolver, policy)
        self._serve_names(driver, self.plan)
        if policy is not None:
            policy.serve(driver)

    def _settings(self, plan: Plan, addresses: Sequence[Address]) -> HostSettings:
        host = plan.host
        if self._has_bypass and host.scope is AppScope.BYPASS:
            host = replace(host, cgroups=(*host.cgroups, BYPASS))
        if plan.goes_direct:
            return with_addresses(host, None)
        servers = [*(str(address.sockaddr[0]) for address in addresses), *plan.outer_resolvers]
        if not all(literal(host) for host, _ in plan.first_hops):
            servers += self._outer_nameservers()
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
        driver = self._driver
        assert driver is not None
        name = self.plan.host.device
        if not any(link.name == name for link in self._query.links().values()):
            if not self.ended.done():
                self.ended.set_result(f"the device {name} is gone")
            return 0
        path = self._look()
        if path == self._path and self.state is ConnectionStatus.CONNECTED:
            self._host.apply(self._settings(self.plan, _all(self._found)))
            self._reset_lost(driver)
            return 0
        if path != self._path or self.state is ConnectionStatus.CONNECTED:
            self._say(f"the network changed: {path}")
        self._path = path
        self._enter(ConnectionStatus.REASSERTING)
        if not path.is_satisfied:
            return self._sit_out(driver)
        self._lost_at = None
        await self._reassert(driver)
        self._enter(ConnectionStatus.CONNECTED)
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
        here = self._finder().local()
        self._leave(driver, {path for path in moving.paths(driver) if path[0] not in here})
        return patience

    async def _reassert(self, driver: Driver) -> None:
        plan = self.plan
        self._host.apply(self._settings(plan, _all(self._found)))
        self._reset_lost(driver)
        found = await self._find(plan, self._names.within)
        if found != self._found:
            self._host.apply(self._settings(plan, _all(found)))
            self._found = found
            self._use(driver, make_ways(plan, found))
        await probe(_all(found), self._sockets)

    def _reset_lost(self, driver: Driver) -> None:
        """Reset the flows that will not hear from their far side again."""
        on = moving.paths(driver)
        self._leave(driver, on - self._finder().surviving(on))

    def _leave(self, driver: Driver, gone: set[moving.Path]) -> None:
        ended = moving.leave(driver, gone) if gone else 0
        if ended:
            self._say(f"{ended} flows were reset: their path is gone")

    def _look(self) -> Uplinks:
        return self._finder().look([_packed(address) for address in _all(self._found)])

    def _finder(self) -> PathFinder:
        return PathFinder(self._query, self.plan.host.mark, self.plan.host.device)


def _all(found: Found) -> tuple[Address, ...]:
    return tuple(dict.fromkeys(address for addresses in found.values() for address in addresses))


def _packed(address: Address) -> bytes:
    return socket.inet_pton(address.family, str(address.sockaddr[0]))
