"""A tunnel of a provider's for the whole machine: what `manager.engine` is for servers.

A packet tunnel says its addresses, routes and resolvers itself (`set_tunnel_network_settings`), any number of times;
the profile's own are left out then, but for what it excludes. A tunnel that takes all of one IP version and nothing of
the other leaves the other unreachable: it must not go around.

For a proxy the host is set up as the profile says, and the provider decides about each flow. The provider's own
connections carry the mark that keeps them out of the tunnel.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from tunflow.errors import LocalError
from tunflow.host.monitor import NetworkMonitor
from tunflow.host.network_facts import describe
from tunflow.host.route_query import RouteQuery
from tunflow.host.settings import EVERYTHING, HostDNS, HostSettings
from tunflow.host.uplinks import PathFinder
from tunflow.io import moving
from tunflow.io.cause_log import CauseLog
from tunflow.io.dialers import DirectDialer
from tunflow.io.driver import Driver
from tunflow.io.hosting.services import ProviderFailed
from tunflow.io.hosting.session import ProviderSession, Surroundings
from tunflow.io.hosting.watchdog import Watchdog
from tunflow.io.reactor import Reactor
from tunflow.io.sockets import SocketOptions
from tunflow.manager.app_rules import app_rule
from tunflow.manager.engine import Host, MakeDriver
from tunflow.manager.plan import Plan
from tunflow.manager.profile_provider import make_provider
from tunflow.providers.app_rule import AppRule
from tunflow.providers.configuration import TunnelProviderProtocol
from tunflow.providers.dns_proxy import DNSProxyProvider
from tunflow.providers.dns_settings import DNSProtocol, DNSSettings
from tunflow.providers.network_path import NetworkPath
from tunflow.providers.packet_tunnel import PacketTunnelProvider
from tunflow.providers.provider import Provider
from tunflow.providers.status import ConnectionStatus
from tunflow.providers.stop_reason import ProviderStopReason
from tunflow.providers.tunnel_settings import PacketTunnelNetworkSettings, TunnelNetworkSettings

PHYSICAL_MTU = 1500


class ProviderEngine:
    """One tunnel; see `Engine` for what its methods promise."""

    def __init__(
        self,
        plan: Plan,
        host: Host,
        reactor: Reactor,
        outer_nameservers: Callable[[], Sequence[str]],
        make_driver: MakeDriver,
        serve_names: Callable[[Driver, Plan], None],
        say: Callable[[str], None],
        changed: Callable[[ConnectionStatus], None] = lambda _: None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """`options` are for the provider's start. Raises LocalError."""
        self.plan = plan
        self._options = options
        self.state = ConnectionStatus.DISCONNECTED
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._host = host
        self._reactor = reactor
        self._outer_nameservers = outer_nameservers
        self._make_driver = make_driver
        self._serve_names = serve_names
        self._say = say
        self._changed = changed
        self._sockets = SocketOptions(mark=plan.host.mark)
        self._settings: HostSettings | None = None
        """What the host was last made."""
        self._since: float | None = None
        self._driver: Driver | None = None
        self._session: ProviderSession | None = None
        self._monitor: NetworkMonitor | None = None
        self._watchdog: Watchdog | None = None
        self._query = RouteQuery()
        self._provider = make_provider(plan.profile)  # now: its files may be out of reach once root's rights are gone
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Bring the tunnel up. Raises LocalError or RemoteError, after which the host is as it was."""
        self._enter(ConnectionStatus.CONNECTING)
        try:
            await self._start()
        except BaseException:
            await self._take_down(failed=True)
            self._enter(ConnectionStatus.DISCONNECTED)
            raise
        self._enter(ConnectionStatus.CONNECTED)

    async def stop(self, reason: ProviderStopReason, *, keep: bool = False) -> None:
        """Take the tunnel down and put the host back. Raises LocalError when that failed."""
        self._enter(ConnectionStatus.DISCONNECTING)
        self._say(f"stopping: {reason.name.lower().replace('_', ' ')}")
        try:
            if self._session is not None:
                await self._session.stop(reason)
            await self._take_down(keep=keep)
        finally:
            self._enter(ConnectionStatus.DISCONNECTED)

    async def reload(self, plan: Plan) -> None:
        """Not while a provider runs: it would have to be started again. Raises LocalError."""
        name = plan.profile.at("provider")
        raise LocalError(f"{name}: a provider's tunnel does not reload: use tunflow up --replace")

    async def admit(self, *, bypass: bool) -> dict[str, Any]:
        """How a program comes to use the tunnel; none goes around a provider's. Raises LocalError."""
        if bypass:
            raise LocalError("nothing goes around a provider's tunnel but what its excluded routes name")
        return {"group": None, "nameservers": []}

    async def send_message(self, data: bytes) -> bytes | None:
        """A message for the provider; its answer. Raises LocalError or RemoteError."""
        if self._session is None:
            raise LocalError("the tunnel is not up")
        return await self._session.send_message(data)

    def status(self) -> dict[str, Any]:
        """The facts of `status --json`; no secrets."""
        counts = {} if self._session is None else self._session.statistics
        flows = 0
        if self._driver is not None:
            statistics = self._driver.statistics
            counts = {
                "bytes_in": statistics.tcp_bytes_down + statistics.udp_bytes_down,
                "bytes_out": statistics.tcp_bytes_up + statistics.udp_bytes_up,
            }
            flows = len(self._driver.relays) + self._driver.associations
        since = None if self._since is None else datetime.fromtimestamp(self._since, UTC).isoformat(timespec="seconds")
        return {
            "status": self.state.word,
            "pid": os.getpid(),
            "device": self._host.device.name if self._host.device is not None else None,
            "profile": self.plan.profile.file or None,
            "provider": self.plan.profile.provider,
            "servers": [],
            "since": since,
            "bytes_in": counts.get("bytes_in", 0),
            "bytes_out": counts.get("bytes_out", 0),
            "flows": flows,
            "kill_switch": self.plan.host.kill_switch,
            "path": None if self._session is None else self._session.path.interface,
        }

    # Up and down.

    async def _start(self) -> None:
        provider = self._provider
        log = CauseLog(self._say, lambda: self._reactor.now)
        session = self._session = ProviderSession(
            provider,
            Surroundings(
                self._reactor,
                log,
                apply=self._apply,
                configuration=TunnelProviderProtocol(self.plan.profile.provider_configuration),
                path=await self._look(),
                sockets=self._sockets,
                app_rules=_app_rules(self.plan, provider),
                system_dns=self._system_dns(),
            ),
            on_status=self._session_changed,
            on_end=self._session_ended,
        )
        self._watchdog = Watchdog(self._reactor, self._say)
        if session.policy is not None:
            self._serve_flows(session, isinstance(provider, DNSProxyProvider))
        await session.start(self._options)
        if isinstance(provider, PacketTunnelProvider):
            device = self._host.device
            if device is None:
                raise ProviderFailed(f"provider {session.name}: start_tunnel set no network settings")
            if not provider.super_packets:
                device.forgo_offload()
            session.attach_device(device)
        self._monitor = NetworkMonitor(self._network_changed, self._woke)

    def _serve_flows(self, session: ProviderSession, answers_names: bool) -> None:
        """A proxy: the stack on the host's device, and the provider asked about flows."""
        plan = replace(self.plan, inside=frozenset(), names=None) if answers_names else self.plan
        self._set_host(plan.host)
        assert self._host.device is not None
        self._driver = self._make_driver(self._host.device, DirectDialer(), plan, self._sockets)
        self._driver.use(DirectDialer(), plan.resolver, session.policy)
        session.attach_driver(self._driver)
        self._serve_names(self._driver, plan)

    async def _take_down(self, *, keep: bool = False, failed: bool = False) -> None:
        if self._looking is not None:
            self._looking.cancel()
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None
        if self._watchdog is not None:
            self._watchdog.close()
            self._watchdog = None
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

    def _session_changed(self, status: ConnectionStatus) -> None:
        """The provider reasserts, or is connected again."""
        up = {ConnectionStatus.CONNECTED, ConnectionStatus.REASSERTING}
        if self.state in up and status in up:
            self._enter(status)

    def _session_ended(self, line: str | None) -> None:
        if not self.ended.done():
            self.ended.set_result(line or "the provider ended the tunnel")

    # The host.

    async def _apply(self, settings: TunnelNetworkSettings | None) -> None:
        """What the provider wants of the host. Raises LocalError."""
        if isinstance(settings, PacketTunnelNetworkSettings):
            self._set_host(_host_settings(self.plan.host, settings))
        elif settings is not None and settings.dns_settings is not None:
            self._set_host(replace(self.plan.host, dns=_host_dns(settings.dns_settings)))

    def _set_host(self, settings: HostSettings) -> None:
        self._host.apply(settings)
        self._settings = settings

    def _network_changed(self) -> None:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._follow())

    async def _follow(self) -> None:
        """Tell the provider, and put back what the kernel took from the host's settings with an interface."""
        path = await self._look()
        session = self._session
        if session is None:
            return
        if path != session.path:
            self._say(f"the network changed: {path.interface or 'no network'}")
        session.path_changed(path)
        if self._settings is not None:
            with suppress(LocalError, OSError):  # the next change tries again
                self._host.apply(self._settings)

    def _woke(self, slept: float) -> None:
        self._say(f"the machine slept for {slept:.0f} s")
        if self._session is not None:
            self._session.wake()
        self._network_changed()

    async def _look(self) -> NetworkPath:
        path = PathFinder(self._query, self.plan.host.mark, self.plan.host.device).look([])
        return await asyncio.to_thread(describe, path, self._outer_nameservers())

    def _system_dns(self) -> tuple[DNSSettings, ...]:
        servers = [server.partition("%")[0] for server in self._outer_nameservers()]
        return (DNSSettings(servers),) if servers else ()


def _app_rules(plan: Plan, provider: Provider) -> Sequence[AppRule] | None:
    """The programs that the provider is for; None for all. Raises LocalError."""
    profile = plan.profile
    if not profile.apps:
        return None
    if isinstance(provider, PacketTunnelProvider):
        raise LocalError(
            f"{profile.at('apps')}: a packet tunnel does not see programs: leave apps out, or use tunnel.per_app"
        )
    for number, section in enumerate(profile.apps):
        if section.action != "tunnel":
            raise LocalError(f"{profile.at('apps', number)}: with a provider, apps are those that it is for: no action")
    if profile.other_apps != "direct":
        raise LocalError(f"{profile.at('other_apps')}: with a provider, all other apps go direct")
    return [app_rule(section) for section in profile.apps]


def _host_settings(profile: HostSettings, settings: PacketTunnelNetworkSettings) -> HostSettings:
    """The host's settings for a packet tunnel's. Raises LocalError."""
    families = [family for family in (settings.ipv4_settings, settings.ipv6_settings) if family is not None]
    addresses = tuple(address for family in families for address in family.addresses)
    own = tuple(address.network for address in addresses if address.network.num_addresses > 1)
    routes = partial(_destinations, families)
    included = routes("included_routes")
    if any(not route.prefixlen for route in included):
        included = (*included, *EVERYTHING)
    return replace(
        profile,
        addresses=addresses,
        mtu=settings.mtu_on(PHYSICAL_MTU),
        included=tuple(dict.fromkeys((*own, *included))),
        excluded=tuple(dict.fromkeys((*profile.excluded, *routes("excluded_routes")))),
        dns=None if settings.dns_settings is None else _host_dns(settings.dns_settings),
    )


def _destinations(families: Sequence[Any], field: str) -> tuple[Any, ...]:
    return tuple(route.destination for family in families for route in getattr(family, field))


def _host_dns(settings: DNSSettings) -> HostDNS:
    """Raises LocalError."""
    if settings.dns_protocol is not DNSProtocol.CLEARTEXT:
        raise LocalError("dns_settings: the host is given plain resolvers only; TLS and HTTPS are the profile's [dns]")
    match = None
    if settings.match_domains is not None and "" not in settings.match_domains:
        match = settings.match_domains or None
    search = settings.search_domains
    if match and not settings.match_domains_no_search:
        search = tuple(dict.fromkeys((*search, *match)))
    return HostDNS(settings.servers, search, match)
