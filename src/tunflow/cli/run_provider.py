"""`tunflow run --provider`: one program with its traffic through a provider of the user's."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from tunflow.addresses import ip_address
from tunflow.cli.dns_modes import Place, name_server
from tunflow.cli.flows import EVERY_QUERY, dialer_of, finish, make_context, with_pcap
from tunflow.cli.provider_options import configuration_of, provider_class
from tunflow.cli.saying import say
from tunflow.cli.system_names import parse_dns
from tunflow.dataplane.admission import Admission, NameStage
from tunflow.dataplane.driver import Driver
from tunflow.dataplane.forwarded_names import ForwardedNames
from tunflow.dataplane.served_names import ServedNames
from tunflow.dns.config import DNSConfig
from tunflow.errors import LocalError
from tunflow.host.fd import from_fd
from tunflow.host.netlink.socket_diag import SocketDiag
from tunflow.host.owner.process import ProcessTable
from tunflow.host.owner.socket_owners import open_owners
from tunflow.host.program.change_network import Wanted, settle
from tunflow.host.program.exit_result import ExitResult, leave
from tunflow.host.program.private_network import PrivateNetwork
from tunflow.host.program.program import Program
from tunflow.host.tun import TunDevice
from tunflow.hosting.services import ProviderFailed
from tunflow.hosting.session import ProviderSession, Surroundings
from tunflow.hosting.watchdog import Watchdog
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.event_loop import ReactorLoop
from tunflow.loop.reactor import READ, Reactor
from tunflow.outbound.direct import DirectOutbound
from tunflow.profiles.profile import Profile
from tunflow.profiles.sections.provider import made, make_provider
from tunflow.protocols.contract import Outbound
from tunflow.providers.configuration import TunnelProviderProtocol
from tunflow.providers.dns_proxy import DNSProxyProvider
from tunflow.providers.dns_settings import DNSProtocol
from tunflow.providers.packet_tunnel import PacketTunnelProvider
from tunflow.providers.provider import Provider
from tunflow.providers.stop_reason import ProviderStopReason
from tunflow.providers.tunnel_settings import PacketTunnelNetworkSettings, TunnelNetworkSettings
from tunflow.tunnel.filtering import Filtering
from tunflow.tunnel.plan import Names

RESOLV_CONF = Path("/etc/resolv.conf")

T = TypeVar("T", bound=Provider)


def run_provider(options: argparse.Namespace, profile: Profile | None = None) -> int:
    """Run the command and leave as it left. Raises LocalError, or ProviderFailed when the provider does not start."""
    if not options.command:
        raise LocalError("no command given: tunflow run [OPTIONS] -- CMD [ARGS...]")
    network = PrivateNetwork()
    if profile is not None:
        provider, configuration = make_provider(profile), profile.protocol_configuration()
    elif options.profile is not None:
        raise LocalError("--profile names its own provider; --provider cannot be given too")
    else:
        provider = made(provider_class(options.provider), f"--provider {options.provider}")
        configuration = configuration_of(options.config)
    mode = options.dns or (profile.dns.mode if profile is not None else EVERY_QUERY)
    names = parse_dns(mode)
    nameserver = network.resolver4 if isinstance(provider, PacketTunnelProvider) or names is not None else None
    with Program.start(options.command, network=network, nameserver=nameserver) as program:
        device = from_fd(program.tun_fd, program.mtu)
        filtering = _filtering(profile)
        run = _Run(options, provider, configuration, program, network, device, names, filtering)
        with asyncio.Runner(loop_factory=run.loop) as runner:
            result = runner.get_loop().run_until_complete(run.serve())
        device.close()
    leave(result)


def _filtering(profile: Profile | None) -> Filtering | None:
    """The content filter of a profile. Raises LocalError."""
    if profile is None or profile.filter is None or not profile.filter.enabled:
        return None
    return Filtering(profile, say)


class _Run:
    """One program and its provider."""

    def __init__(
        self,
        options: argparse.Namespace,
        provider: Provider,
        configuration: TunnelProviderProtocol,
        program: Program,
        network: PrivateNetwork,
        device: TunDevice,
        names: Names,
        filtering: Filtering | None,
    ) -> None:
        self._filtering = filtering
        self._options = options
        self._beside = options.provider is not None and bool(options.server)
        """Whether `--server` says where goes what the provider leaves."""
        self._provider = provider
        self._configuration = configuration
        self._names = names
        self._program = program
        self._network = network
        self._reactor = Reactor()
        if isinstance(provider, PacketTunnelProvider) and not provider.super_packets:
            device.forgo_offload()
        self._device = with_pcap(device, options.pcap)
        self._driver: Driver | None = None
        self._host_resolv_conf = _read(RESOLV_CONF)

    def loop(self) -> ReactorLoop:
        """The loop of all of it."""
        return ReactorLoop(self._reactor)

    async def serve(self) -> ExitResult:
        """Start the provider, let the program go, and serve until it ends."""
        reactor, program = self._reactor, self._program
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        surroundings = Surroundings(
            reactor=reactor,
            log=CauseLog(say, lambda: reactor.now),
            apply=self._apply,
            configuration=self._configuration,
            straight=dialer_of(self._options) if self._beside else DirectOutbound(),
        )
        session = ProviderSession(self._provider, surroundings, on_end=self._tell_end)
        if session.policy is not None:
            self._driver = self._make_driver(session, surroundings.straight)
            if self._filtering is not None:
                self._filtering.serve(self._driver)
        watchdog = Watchdog(reactor, say)
        try:
            await session.start(None)
            if session.policy is None:
                if session.settings is None:
                    await session.stop(ProviderStopReason.CONFIGURATION_FAILED)
                    raise ProviderFailed(f"provider {session.name}: start_tunnel set no network settings")
                session.attach_device(self._device)
            reactor.add(program.exit_fd, READ, lambda _: _settle(ended))
            program.release()
            await ended
            reactor.remove(program.exit_fd)
            result = program.result()
            if self._driver is not None:
                self._driver.drain()
                finish(self._driver, self._options)
            await session.stop(ProviderStopReason.USER_INITIATED)
            if self._filtering is not None:
                await self._filtering.stop(ProviderStopReason.USER_INITIATED)
        finally:
            watchdog.close()  # last: a provider may hang while it stops, too
        return result

    def _tell_end(self, _: str | None) -> None:
        if isinstance(self._provider, PacketTunnelProvider):
            say("the tunnel is over: the program runs on without a network")
        else:
            say("the proxy is over: connections that were its business are refused")

    def _make_driver(self, session: ProviderSession, straight: Outbound) -> Driver:
        network = self._network
        inside = frozenset(ip_address(address).packed for address in (network.resolver4, network.resolver6))
        names = self._names
        if isinstance(self._provider, DNSProxyProvider):
            inside, names = frozenset(), None  # the resolver inside is the provider
        context = make_context(self._reactor, self._device, self._options, inside)
        stage: NameStage | None = None
        if isinstance(names, DNSConfig):
            place = Place(context.reactor, straight, context.sockets, context.log)
            stage = ServedNames(name_server(place, names))
        elif names is not None:
            stage = ForwardedNames(context, straight, names)
        find_process = ProcessTable(SocketDiag.from_fd(self._program.socket_diag_fd), open_owners()).find
        return Driver(
            context, Admission(context, straight, policy=session.policy, names=stage, find_process=find_process)
        )

    async def _apply(self, settings: TunnelNetworkSettings | None) -> None:
        """A packet tunnel's settings, in the program's network. A proxy has none that a private network could show."""
        if not isinstance(settings, PacketTunnelNetworkSettings):
            return
        wanted = self._wanted(settings)
        await asyncio.get_running_loop().run_in_executor(None, settle, self._program.pid, wanted)

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
