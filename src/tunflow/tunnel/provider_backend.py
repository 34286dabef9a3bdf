"""A tunnel through a provider.

A packet tunnel makes the host as it wants (`provider_settings`), any number of times. For a proxy the host is set up as
the profile says, and the provider decides about each flow. The provider's own connections carry the mark that keeps
them out of the tunnel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from tunflow.errors import LocalError, RemoteError
from tunflow.host.network.settings import HostSettings
from tunflow.host.network.uplinks import Uplinks
from tunflow.host.pcap_tee import PcapTee
from tunflow.hosting.services import ProviderFailed
from tunflow.hosting.session import HostServices, ProviderSession
from tunflow.hosting.watchdog import Watchdog
from tunflow.loop.cause_log import CauseLog
from tunflow.profiles.profile import Profile
from tunflow.profiles.sections.provider import make_provider
from tunflow.providers.app_rule import AppRule
from tunflow.providers.configuration import TunnelProviderProtocol
from tunflow.providers.dns_proxy import DNSProxyProvider
from tunflow.providers.dns_settings import DNSSettings
from tunflow.providers.network_path import NetworkPath, PathStatus
from tunflow.providers.packet_tunnel import PacketTunnelProvider
from tunflow.providers.provider import Provider
from tunflow.providers.status import ConnectionStatus
from tunflow.providers.stop_reason import ProviderStopReason
from tunflow.providers.tunnel_settings import PacketTunnelNetworkSettings, TunnelNetworkSettings
from tunflow.tunnel.app_rules import app_rule
from tunflow.tunnel.backend import Backend
from tunflow.tunnel.outbounds import make_outbounds
from tunflow.tunnel.plan import Plan
from tunflow.tunnel.portal_door import PortalDoor, no_page
from tunflow.tunnel.portal_watch import PAUSE
from tunflow.tunnel.provider_settings import host_settings, with_dns
from tunflow.tunnel.tunnel_interface import TunnelInterface, date_of

UP = {ConnectionStatus.CONNECTED, ConnectionStatus.REASSERTING}


class ProviderBackend(Backend):
    """The provider of a profile, on the reactor that its flows are carried in."""

    def __init__(
        self, plan: Plan, profile: Profile, interface: TunnelInterface, options: Mapping[str, Any] | None = None
    ) -> None:
        """`profile` is what the plan was made of; `options` are for the provider's start. Raises LocalError."""
        self._plan = plan
        self._interface = interface
        self._serving = interface.context.serving
        self._profile = profile
        self._options = options
        self._settings: HostSettings | None = None
        """What the host was last made."""
        self._remote: str | None = None
        """The provider's server, as the provider shows it."""
        self._session: ProviderSession | None = None
        self._watchdog: Watchdog | None = None
        self._began_on = Uplinks()
        """The way out that the provider was started with."""
        self._door = PortalDoor(interface)
        self._is_waiting = False
        """True if the provider could not start because a login page is in the way."""
        self._provider = make_provider(profile)  # now: its files may be out of reach once root's rights are gone

    # What it is asked.

    @property
    def path(self) -> str | None:
        """As `Backend.path`."""
        return None if self._session is None else self._session.path.interface

    async def check(self) -> None:
        """A provider says itself what troubles it."""

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

    def facts(self, facts: dict[str, Any]) -> dict[str, Any]:
        """As `Backend.facts`."""
        session = self._session
        if session is not None and self._interface.driver is None:  # a packet tunnel: the provider has the device
            facts |= {name: session.statistics.get(name, 0) for name in ("bytes_in", "bytes_out")}
        if session is not None and session.trouble is not None:
            trouble = {"what": session.trouble, "since": date_of(session.troubled_since)}
            facts["troubles"] = [*facts["troubles"], trouble]
        servers = [] if self._remote is None else [f"{self._plan.provider} at {self._remote}"]
        facts |= {"servers": servers, "internal_errors": self._serving.reactor.internal_errors}
        return {**facts, "provider": self._plan.provider}

    # Up and down.

    async def start(self) -> None:
        """As `Backend.start`: the provider, and the host with what it asks for. Raises LocalError or RemoteError."""
        provider = self._provider
        reactor = self._serving.reactor
        log = CauseLog(self._serving.say, lambda: reactor.now)
        self._began_on = self._interface.finder.look([])
        session = self._session = ProviderSession(
            provider,
            HostServices(
                reactor,
                log,
                apply=self._apply,
                configuration=TunnelProviderProtocol(self._profile.provider_configuration),
                path=await self._interface.network_path(),
                sockets=self._interface.sockets,
                app_rules=_app_rules(self._profile, provider),
                system_dns=self._system_dns(),
            ),
            on_status=self._session_changed,
            on_trouble=self._interface.look_again.set,
            on_end=lambda line: self._interface.over(line or "the provider ended the tunnel"),
        )
        self._watchdog = Watchdog(reactor, self._serving.say)
        if session.policy is not None:
            self._serve_flows(session, isinstance(provider, DNSProxyProvider))
        try:
            await session.start(self._options)
        except RemoteError as error:
            if not await self._door.look():
                raise
            self._serving.say(f"not connected yet: {error}")
            self._wait_for_login()
            return
        if isinstance(provider, PacketTunnelProvider):
            device = self._interface.host.device
            if device is None:
                raise ProviderFailed(f"provider {session.name}: start_tunnel set no network settings")
            if not provider.super_packets:
                device.forgo_offload()
            pcap = self._serving.pcap
            session.attach_device(device if pcap is None else PcapTee(device, pcap))

    def _wait_for_login(self) -> None:
        """Hold what programs send until the page is out of the way; then another process starts the provider anew,
        which has its files and rights."""
        self._is_waiting = True
        if self._interface.driver is None:
            self._set_host(replace(self._plan.host, dns=None, carry_dns=True))

    async def _follow_login(self) -> float:
        """As `follow`, while that is awaited. Raises RemoteError."""
        if await self._door.look():
            raise RemoteError("a login page is in the way")
        self._interface.portals.clear()
        self._put_back()
        self._interface.begin_anew("the login page is out of the way")
        return 0

    def mark_path(self) -> None:
        """The provider was told its path before it started, which takes its time: have it told where that is over."""
        if self._interface.finder.look([]) != self._began_on:
            self._interface.look_again.set()

    async def stop(self, reason: ProviderStopReason) -> None:
        """As `Backend.stop`."""
        session = self._session
        self._door.close()
        try:
            if session is not None:
                if (
                    self._interface.state is ConnectionStatus.DISCONNECTING
                    and self._interface.driver is None
                    and self._serving.tells_statistics
                ):
                    self._serving.say(session.summary)
                await session.stop(reason)
        finally:
            if self._watchdog is not None:
                self._watchdog.close()
                self._watchdog = None

    async def reload(self, plan: Plan) -> None:
        """Not while a provider runs: it would have to be started again. Raises LocalError."""
        raise LocalError(f"{plan.at('provider')}: a provider's tunnel does not reload: use tunflow up --replace")

    def _serve_flows(self, session: ProviderSession, answers_names: bool) -> None:
        """A proxy: the stack on the host's device, and the provider asked about flows."""
        plan = replace(self._plan, inside=frozenset(), names=None) if answers_names else self._plan
        self._set_host(plan.host)
        self._interface.assemble(plan, make_outbounds(plan), session.policy)

    def _session_changed(self, status: ConnectionStatus) -> None:
        """The provider reasserts, or is connected again; while a login page is in the way, that is seen at a look."""
        if self._interface.state in UP and status in UP:
            if self._interface.portals.portal is None:
                self._interface.enter(status)
            self._interface.look_again.set()

    # The host.

    async def _apply(self, settings: TunnelNetworkSettings | None) -> None:
        """What the provider wants of the host. Raises LocalError."""
        self._remote = None if settings is None else settings.tunnel_remote_address
        if isinstance(settings, PacketTunnelNetworkSettings):
            self._set_host(host_settings(self._plan.host, settings))
        elif settings is not None and settings.dns_settings is not None:
            self._set_host(with_dns(self._plan.host, settings.dns_settings))

    def _set_host(self, settings: HostSettings) -> None:
        self._interface.host.apply(self._door.with_way(settings))
        self._settings = settings

    async def follow(self) -> float:
        """Tell the provider, and put back what the kernel took from the host's settings with an interface.

        While the provider hears nothing, look for a login page. Raises RemoteError while one is in the way.
        """
        path = await self._interface.network_path()
        session = self._session
        assert session is not None
        if path != session.path:
            self._serving.say(f"the network changed: {path.interface or 'no network'}")
        session.path_changed(path)
        self._put_back()
        if not path.is_satisfied:
            return 0
        if self._is_waiting:
            return await self._follow_login()
        portals = self._interface.portals
        was = portals.portal
        if was is None and (early := self._door.patience(self._is_in_doubt)):
            return early
        if (was is not None or self._is_in_doubt) and await self._door.look():
            self._interface.enter(ConnectionStatus.REASSERTING)
            raise RemoteError("a login page is in the way")
        if portals.way is not None:
            portals.clear()
            self._put_back()
        if was is not None:
            session.path_changed(NetworkPath(PathStatus.UNSATISFIED))  # so that it tries at once
            session.path_changed(path)
        if session.status in UP:
            self._interface.enter(session.status)
        return PAUSE if self._is_in_doubt else 0

    def _put_back(self) -> None:
        if self._settings is not None:
            with suppress(LocalError, OSError):  # the next change tries again
                self._interface.host.apply(self._door.with_way(self._settings))

    @property
    def _is_in_doubt(self) -> bool:
        """Return True while the provider's server is not heard."""
        session = self._session
        assert session is not None
        return session.trouble is not None or session.status is not ConnectionStatus.CONNECTED

    async def show_portal(self, pid: int) -> dict[str, Any]:
        """As `Backend.show_portal`. Raises LocalError or RemoteError."""
        if self._session is None or not self._is_in_doubt:
            raise no_page()
        return await self._door.show(pid, self._plan)

    def woke(self) -> None:
        """As `Backend.woke`."""
        if self._session is not None:
            self._session.wake()

    def _system_dns(self) -> tuple[DNSSettings, ...]:
        servers = [server.partition("%")[0] for server in self._interface.context.outer_nameservers()]
        return (DNSSettings(servers),) if servers else ()


def _app_rules(profile: Profile, provider: Provider) -> Sequence[AppRule] | None:
    """The programs that the provider is for; None for all. Raises LocalError."""
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
