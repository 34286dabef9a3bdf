"""A tunnel's end on this machine: the host's settings, the device, the driver on it, and how the tunnel stands.

Whatever carries it: `tunnel.engine` says when it comes and goes, and its backend what it is made of.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from tunflow.dataplane import network_change
from tunflow.dataplane.decision import Policy
from tunflow.dataplane.driver import Driver
from tunflow.dataplane.rule_policy import RulePolicy
from tunflow.host.netlink.monitor import NetworkMonitor
from tunflow.host.netlink.route_query import RouteQuery
from tunflow.host.network.network_facts import network_path
from tunflow.host.network.settings import HostDNS, HostSettings
from tunflow.host.network.uplinks import PathFinder
from tunflow.host.resolvers.watch import ResolverWatch
from tunflow.host.tun import TunDevice
from tunflow.loop.sockets import SocketOptions
from tunflow.loop.trouble import Trouble, seen
from tunflow.providers.network_path import NetworkPath
from tunflow.providers.status import ConnectionStatus
from tunflow.providers.stop_reason import ProviderStopReason
from tunflow.tunnel.assemble import Dataplane, ServingContext, assemble
from tunflow.tunnel.firewall_check import is_blocked
from tunflow.tunnel.outbounds import Outbounds
from tunflow.tunnel.plan import Plan
from tunflow.tunnel.portal_signs import CAPTIVE
from tunflow.tunnel.portal_watch import PortalWatch
from tunflow.tunnel.tunnel import facts


class Host(Protocol):
    """What a tunnel asks of the host."""

    @property
    def device(self) -> TunDevice | None:
        """The TUN device, from the first `apply` to `undo`."""

    @property
    def settings(self) -> HostSettings | None:
        """What is in force."""

    def apply(self, settings: HostSettings) -> None:
        """Make the host as `settings` say. Raises LocalError, and then what was before is in force."""

    def undo(self, *, keep_kill_switch: bool = False) -> None:
        """Put everything back as it was; or not a kill switch that was found there. Raises LocalError."""


@dataclass(frozen=True, slots=True)
class TunnelContext:
    """What the process that serves a tunnel gives it."""

    host: Host
    outer_nameservers: Callable[[], Sequence[str]]
    """Finds the name servers that the network outside the tunnel has."""
    serving: ServingContext
    """Where the device's flows are served; its `say` is told what happens, too."""
    changed: Callable[[ConnectionStatus], None] = lambda _: None
    """Is told each new status."""


class TunnelInterface:
    """One tunnel's. The plan's mark and device stay the same through reloads."""

    def __init__(self, plan: Plan, context: TunnelContext) -> None:
        self.state = ConnectionStatus.DISCONNECTED
        self.host = context.host
        self.sockets = SocketOptions(mark=plan.host.mark)
        """Of what the tunnel itself opens: past the tunnel."""
        self.dataplane: Dataplane | None = None
        """What serves the device, from `assemble` on."""
        self.unreachable: Trouble | None = None
        """That no server takes a connection, if it is so."""
        self.walled: Trouble | None = None
        """That the host keeps packets from the device, if it is so."""
        self.portals = PortalWatch(
            plan.portal_probes, self.sockets, context.outer_nameservers, lambda: context.serving.reactor.now
        )
        """Looks for a login page that is in the way."""
        self.query = RouteQuery()
        self.finder = PathFinder(self.query, plan.host.mark, plan.host.device)
        self.context = context
        self.changing = asyncio.Lock()
        """Held by whoever changes the tunnel: one task at a time."""
        self.look_again = asyncio.Event()
        """Set to have the engine look at the network."""
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """As `Tunnel.ended`."""
        self.is_lost = False
        """As `Tunnel.is_lost`."""
        self._name = plan.host.device
        self._monitor: NetworkMonitor | None = None
        self._resolvers: ResolverWatch | None = None
        self._since: float | None = None
        """When it was connected, by a clock that nobody sets."""

    def enter(self, state: ConnectionStatus) -> None:
        """Stand so from now on."""
        if state is self.state:
            return
        if state is ConnectionStatus.CONNECTED and self._since is None:
            self._since = lasting_now()
        self.state = state
        self.context.changed(state)

    @property
    def driver(self) -> Driver | None:
        """The driver on the device, from `assemble` on."""
        return None if self.dataplane is None else self.dataplane.driver

    @property
    def rules(self) -> RulePolicy | None:
        """What the plan's rules decide by, while they do."""
        return None if self.dataplane is None else self.dataplane.rules

    def assemble(self, plan: Plan, outbounds: Outbounds, policy: Policy | None = None) -> Dataplane:
        """Serve the device, which the host's settings have made. Raises LocalError."""
        assert self.host.device is not None
        serving = replace(self.context.serving, sockets=self.sockets, policy=policy)
        self.dataplane = assemble(plan, outbounds, self.host.device, serving)
        return self.dataplane

    def watch(self, woke: Callable[[float], None]) -> None:
        """Set `look_again` when the network changes, and tell after how many seconds the machine woke, until
        `take_down`.

        Until then also keep the host's resolvers the tunnel's.
        """
        self._monitor = NetworkMonitor(self.look_again.set, woke)

        def put_back() -> None:
            self.context.outer_nameservers()  # now the file names the new ones of the network outside
            settings = self.host.settings
            if settings is not None:
                self.host.apply(settings)
            self.look_again.set()

        self._resolvers = ResolverWatch(self._dns, put_back, self.context.serving.say)

    async def network_path(self) -> NetworkPath:
        """The way to the network as providers see it. Raises OSError."""
        return await network_path(self.finder, self.context.outer_nameservers())

    def device_is_gone(self) -> bool:
        """True if somebody took the device away. Raises OSError."""
        return self.host.device is not None and all(link.name != self._name for link in self.query.links().values())

    def over(self, line: str) -> None:
        """The tunnel cannot go on; `line` says why, unless somebody took the device away."""
        if self.ended.done():
            return
        with suppress(OSError):
            self.is_lost = self.state is not ConnectionStatus.DISCONNECTED and self.device_is_gone()
        self.ended.set_result(f"the device {self._name} is gone" if self.is_lost else line)

    def begin_anew(self, line: str) -> None:
        """Have another process make the tunnel anew, with the host held until then; `line` says why."""
        if not self.ended.done():
            self.is_lost = True
            self.ended.set_result(line)

    def _dns(self) -> HostDNS | None:
        settings = self.host.settings
        return None if settings is None else settings.dns

    async def look_for_wall(self, plan: Plan, patience: float) -> None:
        """Find out whether a firewall of the host's keeps packets from the device; takes `patience` seconds if so."""
        assert self.driver is not None
        if await is_blocked(plan.inside, patience, names_are_served=plan.names is not None):
            line = (
                f"nothing is heard of what this machine sends into {plan.host.device}: its firewall drops it "
                "(allow the device, in and out, in nftables, iptables, ufw or firewalld)"
            )
            self.walled = seen(self.walled, line, self.driver.context.reactor.now)
        else:
            self.walled = None

    def stopping(self, reason: ProviderStopReason) -> None:
        """The tunnel begins to go down."""
        self.enter(ConnectionStatus.DISCONNECTING)
        self.context.serving.say(f"stopping: {reason.name.lower().replace('_', ' ')}")

    def take_down(self, *, keep: bool = False, failed: bool = False) -> None:
        """Reset what flows there are and put the host back, unless it is to be kept. Raises LocalError.

        One that `failed` to come up leaves a kill switch that it found.
        """
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None
        if self._resolvers is not None:
            self._resolvers.close()
            self._resolvers = None
        if self.dataplane is not None:
            network_change.reset_all(self.dataplane.driver)
            self.dataplane.close()
        try:
            if not keep:
                self.host.undo(keep_kill_switch=failed)
        finally:
            self.query.close()

    def facts(self, plan: Plan, path: str | None) -> dict[str, Any]:
        """What is known here of the tunnel, for `status --json`."""
        bytes_in = bytes_out = flows = errors = 0
        troubles: list[Trouble] = []
        if self.driver is not None:
            statistics = self.driver.context.statistics
            bytes_in = statistics.tcp_bytes_down + statistics.udp_bytes_down
            bytes_out = statistics.tcp_bytes_up + statistics.udp_bytes_up
            flows = len(self.driver.context.slots)
            errors = self.driver.context.reactor.internal_errors
            troubles = self.driver.troubles
        troubles = [*(each for each in (self._captive, self.walled, self.unreachable) if each is not None), *troubles]
        known = facts(
            plan,
            self.state,
            device=self.host.device.name if self.host.device is not None else None,
            since=None if self._since is None else date_of(time.time() - (lasting_now() - self._since)),
            bytes_in=bytes_in,
            bytes_out=bytes_out,
            flows=flows,
            path=path,
            internal_errors=errors,
            troubles=[
                {"what": each.line, "since": date_of(time.time() - self._age(each)), "server": each.server}
                for each in troubles
            ],
        )
        return known if self._captive is None else known | {"status": CAPTIVE, "portal": self.portal_facts}

    @property
    def _captive(self) -> Trouble | None:
        portal, now = self.portals.portal, self.context.serving.reactor.now
        if portal is None or self.state in {ConnectionStatus.CONNECTED, ConnectionStatus.DISCONNECTED}:
            return None
        return Trouble(self.portals.endless or portal.line, self.portals.since, now)

    @property
    def portal_facts(self) -> dict[str, Any] | None:
        """The login page that is in the way: where, and how it was noticed."""
        portal = self.portals.portal
        return None if portal is None else {"url": portal.url, "sign": portal.sign.name.lower()}

    def _age(self, trouble: Trouble) -> float:
        return self.context.serving.reactor.now - trouble.since


_CLOCK = time.CLOCK_BOOTTIME if sys.platform == "linux" else time.CLOCK_MONOTONIC


def lasting_now() -> float:
    """Seconds that go on while the machine sleeps, and do not jump when its time is set."""
    return time.clock_gettime(_CLOCK)


def date_of(seconds: float) -> str:
    """A time in seconds since 1970 as `status --json` has it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
