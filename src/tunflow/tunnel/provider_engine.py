"""A tunnel of a provider's for the whole machine: what `tunnel.engine` is for servers.

A packet tunnel says its addresses, routes and resolvers itself (`set_tunnel_network_settings`), any number of times;
the profile's own are left out then, but for what it excludes. A tunnel that takes all of one IP version and nothing of
the other leaves the other unreachable: it must not go around.

For a proxy the host is set up as the profile says, and the provider decides about each flow. The provider's own
connections carry the mark that keeps them out of the tunnel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from tunflow.errors import LocalError
from tunflow.host.network.network_facts import network_path
from tunflow.host.network.settings import EVERYTHING, HostDNS, HostSettings
from tunflow.hosting.services import ProviderFailed
from tunflow.hosting.session import ProviderSession, Surroundings
from tunflow.hosting.watchdog import Watchdog
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.reactor import Reactor
from tunflow.outbound.direct import DirectOutbound
from tunflow.profiles.sections.provider import make_provider
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
from tunflow.tunnel.app_rules import app_rule
from tunflow.tunnel.local_end import Equipment, LocalEnd
from tunflow.tunnel.plan import Plan
from tunflow.tunnel.tunnel import Tunnel

PHYSICAL_MTU = 1500


class ProviderEngine(Tunnel):
    """A tunnel through a provider, on the reactor that the provider's flows are carried in."""

    def __init__(
        self, plan: Plan, equipment: Equipment, reactor: Reactor, options: Mapping[str, Any] | None = None
    ) -> None:
        """`options` are for the provider's start. Raises LocalError."""
        self.plan = plan
        self.ended = asyncio.get_running_loop().create_future()
        self._end = LocalEnd(plan, equipment)
        self._equipment = equipment
        self._say = equipment.say
        self._reactor = reactor
        self._options = options
        self._settings: HostSettings | None = None
        """What the host was last made."""
        self._session: ProviderSession | None = None
        self._watchdog: Watchdog | None = None
        self._provider = make_provider(plan.profile)  # now: its files may be out of reach once root's rights are gone
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the provider, and the host with what it asks for. Raises LocalError or RemoteError."""
        self._end.enter(ConnectionStatus.CONNECTING)
        try:
            await self._start()
        except BaseException:
            self._take_down(failed=True)
            self._end.enter(ConnectionStatus.DISCONNECTED)
            raise
        self._end.enter(ConnectionStatus.CONNECTED)

    async def stop(self, reason: ProviderStopReason, *, keep: bool = False) -> None:
        """Stop the provider, then take the tunnel down. Raises LocalError."""
        self._end.stopping(reason)
        try:
            if self._session is not None:
                await self._session.stop(reason)
            self._take_down(keep=keep)
        finally:
            self._end.enter(ConnectionStatus.DISCONNECTED)

    async def reload(self, plan: Plan) -> None:
        """Not while a provider runs: it would have to be started again. Raises LocalError."""
        name = plan.profile.at("provider")
        raise LocalError(f"{name}: a provider's tunnel does not reload: use tunflow up --replace")

    async def admit(self, *, bypass: bool) -> dict[str, Any]:
        """Every program is in a provider's tunnel, and none goes around it. Raises LocalError."""
        if bypass:
            raise LocalError("nothing goes around a provider's tunnel but what its excluded routes name")
        return {"group": None, "nameservers": []}

    async def send_message(self, data: bytes) -> bytes | None:
        """A message for the provider; its answer. Raises LocalError or RemoteError."""
        if self._session is None:
            raise LocalError("the tunnel is not up")
        return await self._session.send_message(data)

    def status(self) -> dict[str, Any]:
        """The facts of `status --json`."""
        session = self._session
        facts = self._end.facts(self.plan, None if session is None else session.path.interface)
        if session is not None and self._end.driver is None:  # a packet tunnel: the provider has the device
            facts |= {name: session.statistics.get(name, 0) for name in ("bytes_in", "bytes_out")}
        return {**facts, "servers": [], "provider": self.plan.profile.provider}

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
                sockets=self._end.sockets,
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
            device = self._end.host.device
            if device is None:
                raise ProviderFailed(f"provider {session.name}: start_tunnel set no network settings")
            if not provider.super_packets:
                device.forgo_offload()
            session.attach_device(device)
        self._end.watch(self._network_changed, self._woke)

    def _serve_flows(self, session: ProviderSession, answers_names: bool) -> None:
        """A proxy: the stack on the host's device, and the provider asked about flows."""
        plan = replace(self.plan, inside=frozenset(), names=None) if answers_names else self.plan
        self._set_host(plan.host)
        driver = self._end.make_driver(plan, DirectOutbound())
        driver.admission.use(DirectOutbound(), session.policy)
        self._equipment.serve_names(driver, plan)

    def _take_down(self, *, keep: bool = False, failed: bool = False) -> None:
        if self._looking is not None:
            self._looking.cancel()
        if self._watchdog is not None:
            self._watchdog.close()
            self._watchdog = None
        self._end.take_down(keep=keep, failed=failed)

    def _session_changed(self, status: ConnectionStatus) -> None:
        """The provider reasserts, or is connected again."""
        up = {ConnectionStatus.CONNECTED, ConnectionStatus.REASSERTING}
        if self._end.state in up and status in up:
            self._end.enter(status)

    def _session_ended(self, line: str | None) -> None:
        if not self.ended.done():
            self.ended.set_result(line or "the provider ended the tunnel")

    # The host.

    async def _apply(self, settings: TunnelNetworkSettings | None) -> None:
        """What the provider wants of the host. Raises LocalError."""
        if isinstance(settings, PacketTunnelNetworkSettings):
            self._set_host(_host_settings(self.plan.host, settings))
        elif settings is not None and settings.dns_settings is not None:
            self._set_host(_with_dns(self.plan.host, settings.dns_settings))

    def _set_host(self, settings: HostSettings) -> None:
        self._end.host.apply(settings)
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
                self._end.host.apply(self._settings)

    def _woke(self, slept: float) -> None:
        self._say(f"the machine slept for {slept:.0f} s")
        if self._session is not None:
            self._session.wake()
        self._network_changed()

    async def _look(self) -> NetworkPath:
        return await network_path(self._end.finder, self._equipment.outer_nameservers())

    def _system_dns(self) -> tuple[DNSSettings, ...]:
        servers = [server.partition("%")[0] for server in self._equipment.outer_nameservers()]
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
        _with_dns(profile, settings.dns_settings),
        addresses=addresses,
        mtu=settings.mtu_on(PHYSICAL_MTU),
        included=tuple(dict.fromkeys((*own, *included))),
        excluded=tuple(dict.fromkeys((*profile.excluded, *routes("excluded_routes")))),
    )


def _destinations(families: Sequence[Any], field: str) -> tuple[Any, ...]:
    return tuple(route.destination for family in families for route in getattr(family, field))


def _with_dns(profile: HostSettings, settings: DNSSettings | None) -> HostSettings:
    """The host's settings with a provider's resolvers; queries are carried where they are for all names. Raises
    LocalError."""
    dns = None if settings is None else _host_dns(settings)
    return replace(profile, dns=dns, carry_dns=dns is not None and dns.match is None)


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
