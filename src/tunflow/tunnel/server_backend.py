"""A tunnel through servers, and the rules that choose between them.

- Start: everything that can fail without touching the host comes first (links, names, the server); then the host's
  settings; and where all goes through one packet tunnel, its start, which may fail too.
- A change of the network: `reasserting`; flows whose path is gone are reset; the server's name is resolved again past
  the tunnel; the host's settings are applied again (the kernel takes routes away with an interface); once the server
  takes a connection the tunnel is `connected`. The device stays, and so do flows that can.
- Reload: a new plan is made whole before the old one is let go; running flows go on as they were decided.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import Any

from tunflow.addresses import ip_address
from tunflow.dataplane import network_change
from tunflow.dataplane.driver import Driver
from tunflow.dataplane.rule_policy import RulePolicy
from tunflow.endpoint import Address
from tunflow.errors import LocalError, RemoteError
from tunflow.host.network.settings import AppScope, HostSettings
from tunflow.host.network.uplinks import Uplinks
from tunflow.hosting.packet_tunnels import PacketTunnels
from tunflow.loop.path import Path
from tunflow.loop.trouble import seen
from tunflow.outbound.delay_round import DelayListener
from tunflow.outbound.lookup import is_address
from tunflow.outbound.sessions import KeptSessions
from tunflow.providers.network_path import NetworkPath, PathStatus
from tunflow.providers.status import ConnectionStatus
from tunflow.providers.stop_reason import ProviderStopReason
from tunflow.tunnel.app_groups import APPS, BYPASS, AppGroups
from tunflow.tunnel.assemble import Dataplane
from tunflow.tunnel.backend import Backend
from tunflow.tunnel.group_memory import GroupMemory
from tunflow.tunnel.outbounds import Find, Found, KnownServers, Outbounds, find_hops, make_outbounds, tunnels_for
from tunflow.tunnel.plan import Plan, with_addresses
from tunflow.tunnel.portal_door import DOUBT, PortalDoor, no_page
from tunflow.tunnel.portal_watch import PAUSE
from tunflow.tunnel.probe import probe
from tunflow.tunnel.server_names import ServerNames
from tunflow.tunnel.tunnel_interface import TunnelInterface, date_of

CHECK_PATIENCE = 2.0
"""Seconds for the answer of a server that is asked for a status: somebody waits."""

LOST_PATIENCE = 5.0
"""Seconds without any way out until flows are reset whose address is still there: a cable may be plugged in again."""


class ServerBackend(Backend):
    """The servers of a plan.

    It `takes_over` where another process left its settings on the host: they may lead into a tunnel that is gone, or
    let nothing out.
    """

    def __init__(self, plan: Plan, interface: TunnelInterface, groups: AppGroups, *, takes_over: bool = False) -> None:
        self._plan = plan
        self._interface = interface
        self._outer_nameservers = interface.context.outer_nameservers
        self._say = interface.context.serving.say
        self._takes_over = takes_over
        self._names = ServerNames(interface.sockets, self._outer_nameservers)
        self._groups = groups
        self._has_bypass = False
        self._found: Found = {}
        self._servers = KnownServers(self._on_silent_server)
        self._has_silent_server = False
        """True if names of servers are to be looked up again, because one does not answer."""
        self._path = Uplinks()
        self._lost_at: float | None = None
        """When the last way out was gone; None while there is one."""
        self._kept: GroupMemory | None = None
        self._sessions = KeptSessions()
        self._tunnels: PacketTunnels | None = None
        """Runs what carries packets, where the plan names such servers."""
        self._tunnel_facts: list[dict[str, Any]] = []
        self._door = PortalDoor(interface)

    # What it is asked.

    @property
    def path(self) -> str:
        """As `Backend.path`."""
        return str(self._path)

    async def admit(self, *, bypass: bool) -> dict[str, Any]:
        """The control group of programs in the tunnel, or around it, if they have to join one. Raises LocalError."""
        only = self._plan.host.scope is AppScope.ONLY
        if bypass is only:
            # It would be so without doing anything, but for the name servers.
            return {"group": None, "nameservers": []}
        self._groups.require()
        if only:
            resolvers = [str(ip_address(address)) for address in self._plan.inside] if self._plan.names else []
            return {"group": APPS, "nameservers": sorted(resolvers)}
        async with self._interface.changing:
            if not self._has_bypass:
                self._has_bypass = True
                try:
                    self._apply(self._plan, _all(self._found))
                except LocalError:
                    self._has_bypass = False
                    raise
        return {"group": BYPASS, "nameservers": list(self._outer_nameservers()) if self._plan.names else []}

    async def check(self) -> None:
        """Ask the servers, and whether packets come in."""
        driver = self._interface.driver
        if driver is None:
            return
        await asyncio.gather(self._ask_servers(driver), self._interface.look_for_wall(self._plan, CHECK_PATIENCE))
        if self._tunnels is not None:
            self._tunnel_facts = await self._tunnels.facts()

    async def _ask_servers(self, driver: Driver) -> None:
        addresses = _asked(self._plan, self._found)
        if not addresses:
            return
        try:
            await probe(addresses, self._interface.sockets, CHECK_PATIENCE)
        except RemoteError as error:
            self._interface.unreachable = seen(self._interface.unreachable, str(error), driver.context.reactor.now)
        else:
            self._interface.unreachable = None
            driver.context.servers.reachable()

    def facts(self, facts: dict[str, Any]) -> dict[str, Any]:
        """As `Backend.facts`."""
        troubles = list(facts["troubles"])
        if self._tunnels is not None:
            facts = facts | {"tunnels": self._tunnel_facts}
            for label, line, since in self._tunnels.troubles():
                troubles.append({"what": line, "since": date_of(since), "server": label})
        return facts | {"troubles": [each | {"avoided": self._avoids(each["server"])} for each in troubles]}

    def _avoids(self, server: str | None) -> bool:
        """Return True if groups lead flows to other servers now."""
        policy = self._interface.rules
        return server is not None and policy is not None and policy.avoids(server)

    def groups(self, select: tuple[str, str] | None) -> list[dict[str, Any]]:
        """As `Backend.groups`. Raises LocalError."""
        policy = self._rules()
        if select is not None:
            policy.routing.groups.select(*select)
            self._keep_groups()
            self._say(f"group {select[0]}: {select[1]} from now on")
        return policy.routing.groups.facts()

    def measure(self, group: str | None, told: DelayListener) -> list[str]:
        """As `Backend.measure`. Raises LocalError."""
        return self._rules().measure(group, told)

    def _rules(self) -> RulePolicy:
        """Raises LocalError where there are none."""
        policy = self._interface.rules
        if policy is None:
            raise LocalError("the tunnel that is up has no groups: its profile has no rules")
        return policy

    def _memory(self, plan: Plan) -> GroupMemory | None:
        path = plan.group_memory
        if path is None:
            self._kept = None
        elif self._kept is None or self._kept.path != path:
            self._kept = GroupMemory(path, self._say)
        return self._kept

    def _keep_groups(self) -> None:
        """Write what is to be known of groups after a restart."""
        policy, memory = self._interface.rules, self._memory(self._plan)
        if memory is not None and policy is not None:
            memory.keep(policy.routing.groups)

    # Up.

    async def start(self) -> None:
        """As `Backend.start`."""
        plan = self._plan
        if plan.host.cgroups:
            self._groups.require()
        found = await self._find_first(plan)
        self._servers.use(found)
        outbounds = self._outbounds(plan)
        if not self._takes_over:
            await self._reach(plan, found)
        self._apply(plan, _all(found))
        if self._takes_over:  # until now a kill switch may have let nothing but the old out
            await self._reach(plan, found)
        self._found = found
        dataplane = self._interface.assemble(plan, outbounds)
        if self._tunnels is not None and plan.is_one_packet_tunnel and self._interface.portals.portal is None:
            await self._await_tunnel(self._tunnels, dataplane)
        else:
            self._start_tunnels(dataplane)

    async def _find_first(self, plan: Plan) -> Found:
        """The first hops' addresses before anything is changed. Raises LocalError or RemoteError."""
        try:
            return await self._find(plan, self._names.within if self._takes_over else self._names.before)
        except RemoteError as error:
            if not await self._door.look():
                raise
            raise RemoteError(f"{error}; {self._interface.portals.portal_line}") from error

    async def _reach(self, plan: Plan, found: Found) -> None:
        """Return once a server takes a connection, or a login page is in the way. Raises RemoteError."""
        try:
            await probe(_asked(plan, found), self._interface.sockets)
        except RemoteError:
            if not await self._door.look():
                raise

    async def _await_tunnel(self, tunnels: PacketTunnels, dataplane: Dataplane) -> None:
        """Return once the tunnel stands, or a login page is in the way. Raises LocalError or RemoteError.

        A provider has a limit of time to start in, which is the one here, too.
        """
        self._path = self._look()
        starting = tunnels.first_start()
        self._start_tunnels(dataplane)
        try:
            while not (await asyncio.wait((starting,), timeout=DOUBT))[0]:
                if await self._door.look():
                    return
            for failure in filter(None, starting.result()):
                raise failure
        except RemoteError as error:
            if not await self._door.look():
                raise
            self._say(f"not connected yet: {error}")
        finally:
            starting.cancel()

    async def show_portal(self, pid: int) -> dict[str, Any]:
        """As `Backend.show_portal`. Raises LocalError or RemoteError."""
        driver = self._interface.driver
        is_heard = driver is not None and not self._is_silent(driver)
        if is_heard and self._interface.state is ConnectionStatus.CONNECTED:
            raise no_page()
        return await self._door.show(pid, self._plan)

    def mark_path(self) -> None:
        """As `Backend.mark_path`."""
        if not self._path.is_satisfied:  # else it was marked before the tunnel's start, which takes its time
            self._path = self._look()

    async def stop(self, reason: ProviderStopReason) -> None:
        """As `Backend.stop`."""
        self._door.close()
        self._keep_groups()
        if self._tunnels is not None:
            await self._tunnels.stop(reason)

    async def reload(self, plan: Plan) -> None:
        """As `Backend.reload`. Raises LocalError or RemoteError."""
        dataplane = self._interface.dataplane
        if dataplane is None:
            raise LocalError("the tunnel is not up")
        if plan.host.addresses != self._plan.host.addresses or plan.host.mtu != self._plan.host.mtu:
            raise LocalError("the tunnel's own addresses and MTU cannot change while it is up: use up --replace")
        found = await self._find(plan, self._names.within)
        self._servers.use(found)
        self._tunnels = self._tunnels or tunnels_for(plan)
        with nullcontext() if self._tunnels is None else self._tunnels.another_plan():
            await self._go_over(plan, found, dataplane)

    async def _go_over(self, plan: Plan, found: Found, dataplane: Dataplane) -> None:
        """From one plan to another. Raises LocalError or RemoteError, after which the old one is in force."""
        outbounds = self._outbounds(plan)
        self._start_tunnels(dataplane)
        await probe(_asked(plan, found), self._interface.sockets)
        # Flows that began under the old plan go on to the old servers.
        self._apply(plan, (*_all(found), *_all(self._found)))
        before = self._plan, self._found
        self._plan, self._found = plan, found
        self._interface.portals.use(plan.portal_probes)
        try:
            dataplane.use(plan, outbounds)
        except LocalError:
            self._plan, self._found = before
            self._apply(self._plan, _all(self._found))
            dataplane.use(self._plan, self._outbounds(self._plan))
            raise

    # Servers.

    async def _find(self, plan: Plan, find: Find) -> Found:
        """The first hops' addresses. Raises LocalError or RemoteError when there are some and none is found."""
        found, failures = await find_hops(plan, find, self._found)
        for failure in failures:
            self._say(failure)
        return found

    def _outbounds(self, plan: Plan) -> Outbounds:
        """The plan's ways out, with groups as they were left before this tunnel. Raises LocalError or NoAddress."""
        self._tunnels = self._tunnels or tunnels_for(plan)
        made = make_outbounds(plan, self._servers.find, self._tunnels, self._sessions)
        if made.routing is not None and self._interface.rules is None and (memory := self._memory(plan)) is not None:
            memory.recall(made.routing.groups)
        return made

    def _start_tunnels(self, dataplane: Dataplane) -> None:
        if self._tunnels is not None:
            self._tunnels.start(
                dataplane.driver.context.reactor, self._say, self._interface.sockets, self._interface.look_again.set
            )

    def _apply(self, plan: Plan, addresses: Sequence[Address]) -> None:
        """Make the host as a plan says, with its servers at `addresses`. Raises LocalError."""
        self._interface.host.apply(self._settings(plan, addresses))

    def _settings(self, plan: Plan, addresses: Sequence[Address]) -> HostSettings:
        host = plan.host
        if self._has_bypass and host.scope is AppScope.BYPASS:
            host = replace(host, cgroups=(*host.cgroups, BYPASS))
        host = self._door.with_way(host)
        if plan.goes_direct:
            return with_addresses(host, None)
        servers = [*(str(address.sockaddr[0]) for address in addresses), *plan.outer_resolvers]
        if not all(is_address(host) for host, _ in plan.first_hops):
            servers += self._outer_nameservers()
        return with_addresses(host, tuple(servers))

    # Changes.

    def woke(self) -> None:
        """As `Backend.woke`: NATs have forgotten us, too."""
        if self._interface.driver is not None:
            network_change.doubt(self._interface.driver)
        self._path = Uplinks()

    async def follow(self) -> float:
        """As `Backend.follow`. Raises RemoteError, LocalError or OSError."""
        dataplane = self._interface.dataplane
        assert dataplane is not None
        driver = dataplane.driver
        path = self._look()
        if path == self._path and self._interface.state is ConnectionStatus.CONNECTED:
            self._apply(self._plan, _all(self._found))
            self._reset_lost(driver)
            await self._find_silent(dataplane)
            return await self._look_behind_silence(driver)
        if path != self._path or self._interface.state is ConnectionStatus.CONNECTED:
            self._say(f"the network changed: {path}")
        if path != self._path and self._tunnels is not None:  # not at each look: what fails tries at once on another
            self._tunnels.path_changed(await self._interface.network_path())
        self._path = path
        self._interface.enter(ConnectionStatus.REASSERTING)
        if not path.is_satisfied:
            return self._sit_out(driver)
        self._lost_at = None
        await self._reassert(dataplane)
        self._interface.enter(ConnectionStatus.CONNECTED)
        self._say("connected again")
        return PAUSE if self._is_silent(driver) else 0

    async def _look_behind_silence(self, driver: Driver) -> float:
        """Look for a login page while no server is heard, though none refuses; when to look again.

        Raises RemoteError while one is in the way.
        """
        is_silent, was_found = self._is_silent(driver), self._interface.portals.portal is not None
        if not was_found and (early := self._door.patience(is_silent)):
            return early
        if is_silent and await self._door.look():
            self._interface.enter(ConnectionStatus.REASSERTING)
            raise RemoteError("a login page is in the way")
        if was_found or not is_silent:
            self._close_way()
        if was_found and is_silent:
            await self._tell_tunnels_anew()
        return PAUSE if is_silent else 0

    def _close_way(self) -> bool:
        """Have nobody reach a login page any more; True if somebody could. Raises LocalError."""
        portals = self._interface.portals
        if portals.way is None:
            return False
        portals.clear()
        self._apply(self._plan, _all(self._found))
        return True

    def _is_silent(self, driver: Driver) -> bool:
        """Return True if nothing is heard of the servers, and there is none that could be asked over TCP."""
        if _asked(self._plan, self._found) or self._plan.goes_direct:
            return False
        if self._tunnels is not None and not self._tunnels.all_stand:
            return True
        return any(trouble.server is not None for trouble in driver.troubles)

    def _sit_out(self, driver: Driver) -> float:
        """There is no way out: for a while only the flows are reset whose address has left; when to look again."""
        now = asyncio.get_running_loop().time()
        self._lost_at = now if self._lost_at is None else self._lost_at
        patience = self._lost_at + LOST_PATIENCE - now
        if patience <= 0:
            self._reset_lost(driver)
            return 0
        here = self._interface.finder.local()
        self._leave(driver, {path for path in network_change.paths(driver) if path[0] not in here})
        return patience

    async def _reassert(self, dataplane: Dataplane) -> None:
        plan, portals = self._plan, self._interface.portals
        was_found = portals.portal is not None
        self._apply(plan, _all(self._found))
        self._reset_lost(dataplane.driver)
        if was_found and await self._door.look():
            raise RemoteError("a login page is in the way")
        try:
            found = await self._find(plan, self._names.within)
            if found != self._found:
                self._apply(plan, _all(found))
                self._go_on_with(found, dataplane)
            await probe(_asked(plan, found), self._interface.sockets)
        except RemoteError:
            await self._door.look()
            raise
        if await portals.suspects(self._path) and await self._door.look():
            raise RemoteError("a login page is in the way")  # that takes every connection, the server's too
        if self._close_way() or was_found:
            await self._tell_tunnels_anew()

    async def _tell_tunnels_anew(self) -> None:
        """Have tunnels that were not heard try at once."""
        if self._tunnels is not None:
            self._tunnels.path_changed(NetworkPath(PathStatus.UNSATISFIED))
            self._tunnels.path_changed(await self._interface.network_path())

    def _on_silent_server(self) -> None:
        self._has_silent_server = True
        self._interface.look_again.set()

    async def _find_silent(self, dataplane: Dataplane) -> None:
        """Follow a server whose name means another address by now (DDNS), once one has not answered."""
        if not self._has_silent_server:
            return
        self._has_silent_server = False
        with suppress(RemoteError, LocalError):
            found, _ = await find_hops(self._plan, self._names.within, self._found)
            if found != self._found:
                self._say(f"a server moved: {' '.join(str(each.sockaddr[0]) for each in _all(found))}")
                # Flows that still answer go on to the old address.
                self._apply(self._plan, (*_all(found), *_all(self._found)))
                self._go_on_with(found, dataplane)

    def _go_on_with(self, found: Found, dataplane: Dataplane) -> None:
        self._found = found
        self._servers.use(found)
        dataplane.use(self._plan, self._outbounds(self._plan))

    def _reset_lost(self, driver: Driver) -> None:
        """Reset the flows that will not hear from their far side again."""
        on = network_change.paths(driver)
        self._leave(driver, on - self._interface.finder.surviving(on))

    def _leave(self, driver: Driver, gone: set[Path]) -> None:
        ended = network_change.leave(driver, gone) if gone else 0
        if ended:
            self._say(f"{ended} flows were reset: their path is gone")

    def _look(self) -> Uplinks:
        return self._interface.finder.look([_packed(address) for address in _all(self._found)])


def _asked(plan: Plan, found: Found) -> tuple[Address, ...]:
    """The addresses that take TCP where the server lives: not those of packet tunnels, nor of QUIC."""
    return _all({hop: addresses for hop, addresses in found.items() if hop not in plan.silent_hops})


def _all(found: Found) -> tuple[Address, ...]:
    return tuple(dict.fromkeys(address for addresses in found.values() for address in addresses))


def _packed(address: Address) -> bytes:
    return socket.inet_pton(address.family, str(address.sockaddr[0]))
