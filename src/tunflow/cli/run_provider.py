"""`tunflow run --provider`: one program with its traffic through a provider of the user's."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from tunflow.cli.api import api_for
from tunflow.cli.process import servers_given
from tunflow.cli.provider_options import configuration_of, provider_class
from tunflow.cli.serving_context import open_pcap, serving_context
from tunflow.cli.stderr import say
from tunflow.errors import LocalError
from tunflow.host.fd import from_fd
from tunflow.host.netlink.socket_diag import SocketDiag
from tunflow.host.owner.process import ProcessTable
from tunflow.host.owner.socket_owners import open_owners
from tunflow.host.pcap_tee import PcapTee
from tunflow.host.program.change_network import Wanted, change_network
from tunflow.host.program.exit_result import ExitResult, leave
from tunflow.host.program.private_network import PrivateNetwork
from tunflow.host.program.program import Program
from tunflow.host.tun import TunDevice
from tunflow.hosting.services import ProviderFailed
from tunflow.hosting.session import HostServices, ProviderSession
from tunflow.hosting.watchdog import Watchdog
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.event_loop import ReactorLoop
from tunflow.loop.reactor import READ, Reactor
from tunflow.profiles.profile import Profile
from tunflow.profiles.sections.provider import made, make_provider
from tunflow.providers.configuration import TunnelProviderProtocol
from tunflow.providers.dns_proxy import DNSProxyProvider
from tunflow.providers.dns_settings import DNSProtocol
from tunflow.providers.packet_tunnel import PacketTunnelProvider
from tunflow.providers.provider import Provider
from tunflow.providers.stop_reason import ProviderStopReason
from tunflow.providers.tunnel_settings import PacketTunnelNetworkSettings, TunnelNetworkSettings
from tunflow.tunnel.assemble import Dataplane, ServingContext, assemble
from tunflow.tunnel.dns_modes import EVERY_QUERY, names_of_mode
from tunflow.tunnel.outbounds import Outbounds, find_hops_now, make_outbounds
from tunflow.tunnel.plan import Plan, plan_of_servers

RESOLV_CONF = Path("/etc/resolv.conf")


def run_provider(options: argparse.Namespace) -> NoReturn:
    """Run the command with `--provider`, and leave as it left.

    Raises LocalError, or ProviderFailed when the provider does not start.
    """
    if not options.command:
        raise LocalError("no command given: tunflow run [OPTIONS] -- CMD [ARGS...]")
    if options.profile is not None:
        raise LocalError("--profile names its own provider; --provider cannot be given too")
    provider = made(provider_class(options.provider), f"--provider {options.provider}")
    servers = servers_given(options) if options.server else []
    plan = plan_of_servers(servers)
    plan = replace(plan, names=names_of_mode(options.dns or EVERY_QUERY, plan.inside.__contains__))
    _run(options, plan, provider, configuration_of(options.config))


def run_profile(options: argparse.Namespace, plan: Plan, profile: Profile) -> NoReturn:
    """Run the command with the provider of a profile and its plan, and leave as it left.

    Raises LocalError, or ProviderFailed when the provider does not start.
    """
    _run(options, plan, make_provider(profile), profile.protocol_configuration())


def _run(
    options: argparse.Namespace, plan: Plan, provider: Provider, configuration: TunnelProviderProtocol
) -> NoReturn:
    if isinstance(provider, DNSProxyProvider):  # the resolver inside is the provider
        plan = replace(plan, inside=frozenset(), names=None)
    network = PrivateNetwork()
    named = isinstance(provider, PacketTunnelProvider | DNSProxyProvider) or plan.names is not None
    outbounds = make_outbounds(plan, find_hops_now(plan.first_hops)[0])
    pcap = open_pcap(options.pcap)
    with Program.start(options.command, network=network, nameserver=network.resolver4 if named else None) as program:
        device = from_fd(program.tun_fd, program.mtu)
        if isinstance(provider, PacketTunnelProvider) and not provider.super_packets:
            device.forgo_offload()
        reactor = Reactor.containing(say)
        api = api_for(options.api, plan, reactor)
        find_process = ProcessTable(SocketDiag.from_fd(program.socket_diag_fd), open_owners()).find
        serving = replace(serving_context(options, reactor, pcap=pcap, api=api), find_process=find_process)
        run = _Run(plan, outbounds, serving, provider, configuration, program, network, device)
        with asyncio.Runner(loop_factory=lambda: ReactorLoop(reactor)) as runner:
            result = runner.get_loop().run_until_complete(run.serve())
        device.close()
        if api is not None:
            api.close()
    leave(result)


class _Run:
    """One program and its provider."""

    def __init__(
        self,
        plan: Plan,
        outbounds: Outbounds,
        serving: ServingContext,
        provider: Provider,
        configuration: TunnelProviderProtocol,
        program: Program,
        network: PrivateNetwork,
        device: TunDevice,
    ) -> None:
        self._plan = plan
        self._outbounds = outbounds
        self._serving = serving
        self._provider = provider
        self._configuration = configuration
        self._program = program
        self._network = network
        self._device = device
        self._host_resolv_conf = _read(RESOLV_CONF)

    async def serve(self) -> ExitResult:
        """Start the provider, let the program go, and serve until it ends."""
        reactor, program = self._serving.reactor, self._program
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        surroundings = HostServices(
            reactor=reactor,
            log=CauseLog(say, lambda: reactor.now),
            apply=self._apply,
            configuration=self._configuration,
            straight=self._outbounds.default,
        )
        session = ProviderSession(self._provider, surroundings, on_end=self._tell_end)
        dataplane: Dataplane | None = None
        if session.policy is not None:
            serving = replace(self._serving, policy=session.policy)
            dataplane = assemble(self._plan, self._outbounds, self._device, serving)
        watchdog = Watchdog(reactor, say)
        try:
            await session.start(None)
            if session.policy is None:
                await self._attach(session)
            reactor.add(program.exit_fd, READ, lambda _: _settle(ended))
            program.release()
            await ended
            reactor.remove(program.exit_fd)
            result = program.result()
            if dataplane is not None:
                dataplane.driver.drain()
                dataplane.close()
            elif self._serving.tells_statistics:
                self._serving.say(session.summary)
            await session.stop(ProviderStopReason.USER_INITIATED)
            await self._serving.filter.stop(ProviderStopReason.USER_INITIATED)
        finally:
            watchdog.close()  # last: a provider may hang while it stops, too
        return result

    async def _attach(self, session: ProviderSession) -> None:
        """Give a packet tunnel the device. Raises ProviderFailed."""
        if session.settings is None:
            await session.stop(ProviderStopReason.CONFIGURATION_FAILED)
            raise ProviderFailed(f"provider {session.name}: start_tunnel set no network settings")
        pcap = self._serving.pcap
        session.attach_device(self._device if pcap is None else PcapTee(self._device, pcap))

    def _tell_end(self, _: str | None) -> None:
        if isinstance(self._provider, PacketTunnelProvider):
            say("the tunnel is over: the program runs on without a network")
        else:
            say("the proxy is over: connections that were its business are refused")

    async def _apply(self, settings: TunnelNetworkSettings | None) -> None:
        """A packet tunnel's settings, in the program's network. A proxy has none that a private network could show."""
        if not isinstance(settings, PacketTunnelNetworkSettings):
            return
        wanted = self._wanted(settings)
        await asyncio.get_running_loop().run_in_executor(None, change_network, self._program.pid, wanted)

    def _wanted(self, settings: PacketTunnelNetworkSettings) -> Wanted:
        families = [family for family in (settings.ipv4_settings, settings.ipv6_settings) if family is not None]
        dns = settings.dns_settings
        if dns is not None and dns.dns_protocol is not DNSProtocol.CLEARTEXT:
            raise LocalError("dns_settings: `tunflow run` gives the program a plain resolver only: use DNSSettings")
        resolv_conf = self._host_resolv_conf
        if dns is not None:
            search = list(dns.search_domains)
            if dns.match_domains and not dns.match_domains_no_search:
                search += [domain for domain in dns.match_domains if domain]
            lines = [f"nameserver {server}" for server in dns.servers]
            lines += [f"search {' '.join(search)}"] if search else []
            resolv_conf = "\n".join(lines) + "\n"
        return Wanted(
            device=self._network.device,
            mtu=settings.mtu_on(1500),
            addresses=tuple(str(address) for family in families for address in family.addresses),
            included=tuple(str(route.destination) for family in families for route in family.included_routes),
            excluded=tuple(str(route.destination) for family in families for route in family.excluded_routes),
            resolv_conf=resolv_conf,
        )


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _read(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    return ""
