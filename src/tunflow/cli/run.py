"""`tunflow run -- CMD`: one program with all its traffic through the servers."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from tunflow.addresses import ip_address
from tunflow.cli.flows import EVERY_QUERY, dialer_of, finish, make_context, name_service, server_links, with_pcap
from tunflow.dataplane.admission import Admission
from tunflow.dataplane.driver import Driver
from tunflow.dataplane.forwarded_names import ForwardedNames, NameService
from tunflow.errors import LocalError
from tunflow.host.fd import from_fd
from tunflow.host.program.exit_result import leave
from tunflow.host.program.private_network import PrivateNetwork
from tunflow.host.program.program import Program
from tunflow.loop.reactor import READ, Reactor

if TYPE_CHECKING:
    from tunflow.cli.routed import Routed
    from tunflow.dataplane.admission import NameStage
    from tunflow.dataplane.context import FlowContext
    from tunflow.dataplane.rule_policy import RulePolicy
    from tunflow.dns.config import DNSConfig
    from tunflow.flow import ProcessFinder
    from tunflow.profiles.profile import Profile
    from tunflow.protocols.contract import Outbound


def run(options: argparse.Namespace) -> int:
    """Run the command and leave as it left. Raises LocalError for what keeps it from starting."""
    if not options.command:
        raise LocalError("no command given: tunflow run [OPTIONS] -- CMD [ARGS...]")
    if options.config:
        raise LocalError("--config configures a provider: name one with --provider")
    profile = _profile(options)
    if profile is not None and profile.provider is not None:
        from tunflow.cli.run_provider import run_provider  # noqa: PLC0415 (asyncio, for those who need it)

        return run_provider(options, profile)
    return _run(options, profile)


def _run(options: argparse.Namespace, profile: Profile | None) -> NoReturn:
    """Run the command through servers and leave as it left. Raises LocalError for what keeps it from starting."""
    network = PrivateNetwork()
    inside = frozenset(ip_address(address).packed for address in (network.resolver4, network.resolver6))
    routed = _routed(profile)
    dialer = routed.dialer if routed else dialer_of(options)
    mode = options.dns or (routed.profile.dns.mode if routed else EVERY_QUERY if dialer.resolver is None else "tor")
    if mode == "tor" and dialer.resolver is None:
        raise LocalError("--dns tor: the last server is not tor://")
    dns = routed.dns if routed and not options.dns else None
    dns = dns or _configured(mode)
    service = name_service(mode) if dns is None else None
    nameserver = network.resolver4 if service is not None or dns is not None else None
    with Program.start(options.command, network=network, nameserver=nameserver) as program:
        device = with_pcap(from_fd(program.tun_fd, program.mtu), options.pcap)
        reactor = Reactor()
        context = make_context(reactor, device, options, inside)
        policy = _policy(routed, context)
        names = _names(context, dialer, service, dns, policy)
        find_process = _process_finder(routed, dialer, program.socket_diag_fd)
        admission = Admission(context, dialer, policy=policy, names=names, find_process=find_process)
        driver = Driver(context, admission)
        if routed is not None and routed.filtering is not None:
            routed.filtering.serve(driver)
        if routed is not None and routed.filtering is not None and routed.filtering.life is not None:
            from tunflow.cli.run_filter import serve_filtered  # noqa: PLC0415 (brings asyncio)

            result = serve_filtered(reactor, driver, program, routed.filtering)
        else:
            reactor.add(program.exit_fd, READ, lambda _: reactor.stop())
            program.release()
            reactor.run()
            reactor.remove(program.exit_fd)
            result = program.result()
            driver.drain()
        if routed is not None:
            routed.close()
        finish(driver, options)
        driver.close()
        device.close()
    leave(result)


def _process_finder(routed: Routed | None, dialer: Outbound, socket_diag_fd: int) -> ProcessFinder | None:
    """What finds the programs of flows, where somebody asks; the descriptor asks about sockets in their network."""
    if routed is not None:
        return routed.process_finder(socket_diag_fd)
    if not dialer.wants_flow:
        return None
    from tunflow.host.netlink.socket_diag import SocketDiag  # noqa: PLC0415
    from tunflow.host.owner.process import ProcessTable  # noqa: PLC0415 (which few need)
    from tunflow.host.owner.socket_owners import open_owners  # noqa: PLC0415

    return ProcessTable(SocketDiag.from_fd(socket_diag_fd), open_owners()).find


def _profile(options: argparse.Namespace) -> Profile | None:
    """What `--profile` names. Raises LocalError."""
    if options.profile is None:
        return _packet_tunnel(server_links(options))
    if options.server:
        raise LocalError("--profile names the servers; --server cannot be given too")
    from tunflow.cli.saying import say  # noqa: PLC0415
    from tunflow.profiles.store import load_profile  # noqa: PLC0415 (profiles need much that others do not)

    return load_profile(options.profile, say)


def _packet_tunnel(links: Sequence[str]) -> Profile | None:
    """The profile of a server that carries packets; None for servers of flows. Raises LocalError."""
    from tunflow.profiles.way_out import is_packet_tunnel, way_out  # noqa: PLC0415

    if not is_packet_tunnel(links):
        return None
    from tunflow.profiles.profile import Profile  # noqa: PLC0415 (profiles need much that others do not)

    return Profile(name="server", **way_out(links))


def _routed(profile: Profile | None) -> Routed | None:
    """What a profile's rules decide. Raises LocalError."""
    if profile is None:
        return None
    from tunflow.cli.routed import route  # noqa: PLC0415

    return route(profile)


def _configured(mode: str) -> DNSConfig | None:
    """What `--dns` asks of the full name server, whose parts are loaded for who wants it only. Raises LocalError."""
    if not mode.startswith(("fake", "cache", "tls://", "https://", "tor")):
        return None
    from tunflow.cli.dns_modes import dns_config  # noqa: PLC0415

    return dns_config(mode)


def _policy(routed: Routed | None, context: FlowContext) -> RulePolicy | None:
    """What decides about flows, where a profile has rules."""
    if routed is None:
        return None
    from tunflow.dataplane.rule_policy import RulePolicy  # noqa: PLC0415

    return RulePolicy(routed.routing, context)


def _names(
    context: FlowContext,
    dialer: Outbound,
    service: NameService | None,
    dns: DNSConfig | None,
    policy: RulePolicy | None,
) -> NameStage | None:
    """What answers names. Raises LocalError."""
    if dns is not None:
        from tunflow.cli.dns_modes import Place, name_server  # noqa: PLC0415
        from tunflow.dataplane.served_names import ServedNames  # noqa: PLC0415

        place = Place(context.reactor, dialer, context.sockets, context.log)
        return ServedNames(name_server(place, dns, None if policy is None else policy.dialer))
    return None if service is None else ForwardedNames(context, dialer, service)
