"""A tunnel's end on this machine: the host's settings, the device, the driver on it, and how the tunnel stands.

What a tunnel through servers and a provider's have in common; each has one, and says when it comes and goes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from tunflow.dataplane import network_change as moving
from tunflow.dataplane.driver import Driver
from tunflow.host.netlink.monitor import NetworkMonitor
from tunflow.host.netlink.route_query import RouteQuery
from tunflow.host.network.settings import HostDNS, HostSettings
from tunflow.host.network.uplinks import PathFinder
from tunflow.host.resolvers.watch import ResolverWatch
from tunflow.host.tun import TunDevice
from tunflow.loop.sockets import SocketOptions
from tunflow.loop.trouble import Trouble
from tunflow.protocols.contract import Outbound
from tunflow.providers.status import ConnectionStatus
from tunflow.providers.stop_reason import ProviderStopReason
from tunflow.tunnel.plan import Plan
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
class Equipment:
    """What the process that serves a tunnel gives it."""

    host: Host
    outer_nameservers: Callable[[], Sequence[str]]
    """Finds the name servers that the network outside the tunnel has."""
    make_driver: Callable[[TunDevice, Outbound, Plan, SocketOptions], Driver]
    serve_names: Callable[[Driver, Plan], None]
    """Has names answered as a plan says, also in place of what answered them. Raises LocalError."""
    say: Callable[[str], None]
    """Is told what happens, in lines for people."""
    changed: Callable[[ConnectionStatus], None] = lambda _: None
    """Is told each new status."""


class LocalEnd:
    """One tunnel's. The plan's mark and device stay the same through reloads."""

    def __init__(self, plan: Plan, equipment: Equipment) -> None:
        self.state = ConnectionStatus.DISCONNECTED
        self.host = equipment.host
        self.sockets = SocketOptions(mark=plan.host.mark)
        """Of what the tunnel itself opens: past the tunnel."""
        self.driver: Driver | None = None
        self.unreachable: Trouble | None = None
        """That no server takes a connection, if it is so."""
        self.query = RouteQuery()
        self.finder = PathFinder(self.query, plan.host.mark, plan.host.device)
        self._equipment = equipment
        self._monitor: NetworkMonitor | None = None
        self._resolvers: ResolverWatch | None = None
        self._since: float | None = None

    def enter(self, state: ConnectionStatus) -> None:
        """Stand so from now on."""
        if state is self.state:
            return
        if state is ConnectionStatus.CONNECTED and self._since is None:
            self._since = time.time()
        self.state = state
        self._equipment.changed(state)

    def make_driver(self, plan: Plan, dialer: Outbound) -> Driver:
        """The driver on the device, which the host's settings have made."""
        assert self.host.device is not None
        self.driver = self._equipment.make_driver(self.host.device, dialer, plan, self.sockets)
        return self.driver

    def watch(self, changed: Callable[[], None], woke: Callable[[float], None]) -> None:
        """Tell of changes of the network, and after how many seconds the machine woke, until `take_down`.

        Until then also keep the host's resolvers the tunnel's.
        """
        self._monitor = NetworkMonitor(changed, woke)

        def put_back() -> None:
            self._equipment.outer_nameservers()  # now the file names the new ones of the network outside
            settings = self.host.settings
            if settings is not None:
                self.host.apply(settings)
            changed()

        self._resolvers = ResolverWatch(self._dns, put_back, self._equipment.say)

    def _dns(self) -> HostDNS | None:
        settings = self.host.settings
        return None if settings is None else settings.dns

    def stopping(self, reason: ProviderStopReason) -> None:
        """The tunnel begins to go down."""
        self.enter(ConnectionStatus.DISCONNECTING)
        self._equipment.say(f"stopping: {reason.name.lower().replace('_', ' ')}")

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
        if self.driver is not None:
            moving.reset_all(self.driver)
            self.driver.close()
        try:
            if not keep:
                self.host.undo(keep_kill_switch=failed)
        finally:
            self.query.close()

    def facts(self, plan: Plan, path: str | None) -> dict[str, Any]:
        """What is known here of the tunnel, for `status --json`."""
        bytes_in = bytes_out = flows = 0
        troubles: list[Trouble] = []
        if self.driver is not None:
            statistics = self.driver.context.statistics
            bytes_in = statistics.tcp_bytes_down + statistics.udp_bytes_down
            bytes_out = statistics.tcp_bytes_up + statistics.udp_bytes_up
            flows = len(self.driver.context.slots)
            troubles = self.driver.troubles
        if self.unreachable is not None:
            troubles = [self.unreachable, *troubles]
        return facts(
            plan,
            self.state,
            device=self.host.device.name if self.host.device is not None else None,
            since=None if self._since is None else _date(self._since),
            bytes_in=bytes_in,
            bytes_out=bytes_out,
            flows=flows,
            path=path,
            troubles=[{"what": each.line, "since": _date(time.time() - self._age(each))} for each in troubles],
        )

    def _age(self, trouble: Trouble) -> float:
        assert self.driver is not None
        return self.driver.context.reactor.now - trouble.since


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
