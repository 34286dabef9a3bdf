"""`tunflow run -- CMD`: one program with all its traffic through the servers."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from tunflow.cli.api import api_for
from tunflow.cli.process import plan_given
from tunflow.cli.serving_context import open_pcap, serving_context
from tunflow.cli.stderr import say
from tunflow.errors import LocalError
from tunflow.host.fd import from_fd
from tunflow.host.program.exit_result import ExitResult, leave
from tunflow.host.program.private_network import PrivateNetwork
from tunflow.host.program.program import Program
from tunflow.loop.reactor import READ, Reactor
from tunflow.tunnel.assemble import Dataplane, ServingContext, assemble
from tunflow.tunnel.outbounds import Outbounds, find_hops_now, make_outbounds, tunnels_for
from tunflow.tunnel.serving import serve_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunflow.dns.config import DNSConfig
    from tunflow.flow import ProcessFinder
    from tunflow.tunnel.plan import Plan


def run(options: argparse.Namespace) -> NoReturn:
    """Run the command and leave as it left. Raises LocalError for what keeps it from starting."""
    if not options.command:
        raise LocalError("no command given: tunflow run [OPTIONS] -- CMD [ARGS...]")
    if options.config:
        raise LocalError("--config configures a provider: name one with --provider")
    plan = plan_given(options)
    if plan.provider is not None and plan.profile is not None:
        from tunflow.cli.run_provider import run_profile  # noqa: PLC0415 (asyncio, for those who need it)

        run_profile(options, plan, plan.profile)
    find, failures = find_hops_now(plan.first_hops)
    for failure in failures:
        say(failure)
    outbounds = make_outbounds(plan, find, tunnels_for(plan))
    if plan.profile is None and options.dns is None:
        plan = replace(plan, names=_usual_names(plan, outbounds))
    leave(_run(options, plan, outbounds))


def _usual_names(plan: Plan, outbounds: Outbounds) -> DNSConfig | None:
    """How names are looked up where nobody says it: every query is answered, by Tor where that is the way out."""
    from tunflow.tunnel.dns_modes import EVERY_QUERY, names_of_mode  # noqa: PLC0415

    mode = "tor" if outbounds.default.resolver is not None else EVERY_QUERY
    return names_of_mode(mode, plan.inside.__contains__)


def _run(options: argparse.Namespace, plan: Plan, outbounds: Outbounds) -> ExitResult:
    """Run the command; how it left. Raises LocalError for what keeps it from starting."""
    network, pcap = PrivateNetwork(), open_pcap(options.pcap)
    nameserver = network.resolver4 if plan.names is not None else None
    reactor = Reactor.containing(say)
    api = api_for(options.api, plan, reactor)
    with Program.start(options.command, network=network, nameserver=nameserver) as program:
        device = from_fd(program.tun_fd, program.mtu)
        find_process = _process_finder(plan, program.socket_diag_fd, is_shown=api is not None)
        serving = replace(serving_context(options, reactor, pcap=pcap, api=api), find_process=find_process)
        dataplane = assemble(plan, outbounds, device, serving)
        result = _serve(program, dataplane, serving, outbounds)
        dataplane.close()
        device.close()
        if api is not None:
            api.close()
    return result


def _serve(program: Program, dataplane: Dataplane, serving: ServingContext, outbounds: Outbounds) -> ExitResult:
    """Let the program go, and serve until it ends."""
    results: list[ExitResult] = []

    def start(stop: Callable[[], None]) -> None:
        serving.reactor.add(program.exit_fd, READ, lambda _: stop())
        program.release()

    def finish() -> None:
        serving.reactor.remove(program.exit_fd)
        results.append(program.result())
        dataplane.driver.drain()

    shared = dataplane.driver.context.slots.shared
    background = None
    if dataplane.plan.fetched_lists:
        from tunflow.tunnel.refreshing import refresher  # noqa: PLC0415 (which few need)

        background = refresher(dataplane, serving, outbounds)
    serve_until(serving, outbounds, start, finish, lambda: all(flow.done_up for flow in shared), background)
    return results[0]


def _process_finder(plan: Plan, socket_diag_fd: int, *, is_shown: bool) -> ProcessFinder | None:
    """What finds the programs of flows, where somebody asks; the descriptor asks about sockets in their network."""
    if not plan.asks_for_processes and not is_shown:
        return None
    from tunflow.host.netlink.socket_diag import SocketDiag  # noqa: PLC0415
    from tunflow.host.owner.process import ProcessTable  # noqa: PLC0415 (which few need)
    from tunflow.host.owner.socket_owners import open_owners  # noqa: PLC0415

    return ProcessTable(SocketDiag.from_fd(socket_diag_fd), open_owners()).find
