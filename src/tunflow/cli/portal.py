"""`tunflow portal`: a network's login page in a browser that reaches nothing else.

The browser lives as `tunflow run`'s programs do, in a network of its own whose packets come here. Names are asked for
at the network's resolvers, TCP goes to the web's ports, everything else is refused; what is opened here carries the
mark that the kill switch of the tunnel lets through for as long as this process lives and nobody has logged in.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tunflow.cli.browser import browser_command, own_environment
from tunflow.cli.serving_context import prepare_process
from tunflow.cli.stderr import say
from tunflow.cli.up import request
from tunflow.control.client import NotRunning, watch
from tunflow.errors import LocalError, RemoteError
from tunflow.host.fd import from_fd
from tunflow.host.netlink.route_query import RouteQuery
from tunflow.host.network.uplinks import PathFinder
from tunflow.host.program import command
from tunflow.host.program.exit_result import ExitResult, leave
from tunflow.host.program.private_network import PrivateNetwork
from tunflow.host.program.program import Program
from tunflow.host.resolvers.outer_resolvers import OuterResolvers
from tunflow.host.rights.privileges import require_net_admin
from tunflow.host.runtime import RuntimeDirectory
from tunflow.loop.reactor import READ, Reactor
from tunflow.loop.sockets import UNMARKED, SocketOptions
from tunflow.profiles.profile import Profile
from tunflow.profiles.sections.dns import DNSSection
from tunflow.profiles.sections.tunnel import TunnelSection
from tunflow.tunnel.assemble import ServingContext, assemble
from tunflow.tunnel.compile import compile_profile
from tunflow.tunnel.outbounds import Outbounds, make_outbounds
from tunflow.tunnel.plan import Plan
from tunflow.tunnel.portal_signs import WEB_PORTS
from tunflow.tunnel.portal_watch import PortalWatch
from tunflow.tunnel.process_filter import ProcessFilter
from tunflow.tunnel.serving import serve_until
from tunflow.urls import NotAURL, parse_web_address

FALLBACK = "http://neverssl.com/"
"""What is opened where no login page was found: one that never asks for TLS, so that a login page may answer for it."""


@dataclass(frozen=True, slots=True)
class PortalWay:
    """How to go to the page: the resolvers, the TCP ports, and the mark of packets (0: no tunnel is up)."""

    url: str
    is_found: bool
    resolvers: tuple[str, ...]
    ports: tuple[int, ...]
    mark: int


def portal(options: argparse.Namespace) -> int:
    """Open the page; the exit status, or leave as the program left. Raises LocalError or RemoteError."""
    if options.browser is not None and options.command:
        raise LocalError("--browser and a command exclude each other: give one of them")
    if options.command:
        command.find(options.command[0])
    if options.url is not None:
        try:
            parse_web_address(options.url.partition("#")[0])
        except NotAURL as error:
            raise LocalError(f"--url {options.url}: {error}") from None
    way = _find(options.url)
    if options.json:
        found = {"url": way.url, "found": way.is_found, "resolvers": way.resolvers, "ports": way.ports}
        print(json.dumps(found, indent=2))  # noqa: T201 - this is the command's output
        return 0 if way.is_found else 1
    if not way.resolvers:
        raise RemoteError("the network has named no resolver: its login page cannot be found")
    with tempfile.TemporaryDirectory(prefix="tunflow-portal-", ignore_cleanup_errors=True) as folder:
        result = _show(_command(options, way, Path(folder)), way)
    leave(result)
    return 0


def _find(url: str | None) -> PortalWay:
    """Where the page is, with the way to it opened. Raises LocalError or RemoteError."""
    try:
        facts = request(RuntimeDirectory.running(), "portal", pid=os.getpid())
    except NotRunning:
        return _find_here(url)
    require_net_admin()
    resolvers, ports = facts["way"]
    found = bool(facts["is_found"])
    return PortalWay(url or facts["url"] or FALLBACK, found, tuple(resolvers), tuple(ports), int(facts["mark"]))


def _find_here(url: str | None) -> PortalWay:
    """The same where no tunnel is up. Raises RemoteError for a page without an end."""
    outer = OuterResolvers(()).find
    query = RouteQuery()
    try:
        path = PathFinder(query, 0, "").look([])
    finally:
        query.close()
    probes = TunnelSection().portal_probes
    watch = PortalWatch(probes, UNMARKED, outer, time.monotonic)
    found = asyncio.run(watch.look(path, lambda: None))
    if watch.endless is not None:
        raise RemoteError(watch.endless)
    resolvers, ports = watch.way or (tuple(outer()), WEB_PORTS)
    page = FALLBACK if watch.portal is None else watch.portal.url
    return PortalWay(url or page, found, resolvers, ports, 0)


def _command(options: argparse.Namespace, way: PortalWay, folder: Path) -> list[str]:
    """What runs; its environment becomes ours. Raises LocalError."""
    if options.command:
        argv = [word.replace("{}", way.url) for word in options.command]
    else:
        argv = browser_command(options.browser, way.url, folder)
    if not way.is_found:
        say(f"no login page was found: opening {way.url}, which one may answer for")
    os.environ.update(own_environment(os.environ, folder))
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "DBUS_SESSION_BUS_ADDRESS"):
        os.environ.pop(name, None)
        os.environ.pop(name.upper(), None)
    return [*_as_caller(folder), *argv]


def _as_caller(folder: Path) -> list[str]:
    """What has a program run as the user who called sudo, whose folder that becomes; nothing where nobody did."""
    user, group = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if os.geteuid() != 0 or not (user.isdecimal() and group.isdecimal()) or user == "0":
        return []
    os.chown(folder, int(user), int(group))
    return ["setpriv", f"--reuid={user}", f"--regid={group}", "--init-groups", "--"]


def _plan(way: PortalWay) -> Plan:
    """Names from the network's resolvers, TCP to the web's ports, and nothing else."""
    ports = "/".join(map(str, way.ports))
    resolvers = [f"udp://[{each}]#direct" if ":" in each else f"udp://{each}#direct" for each in way.resolvers]
    profile = Profile(
        name="portal",
        rules=(f"AND,((NETWORK,tcp),(DST-PORT,{ports})),DIRECT", "MATCH,REJECT"),
        dns=DNSSection(servers=tuple(resolvers), ask_anyway=("lan", "home.arpa", "internal", "local")),
    )
    return compile_profile(profile)


def _show(argv: Sequence[str], way: PortalWay) -> ExitResult:
    """Run the program until it ends; how it left. Raises LocalError for what keeps it from starting."""
    plan, network = _plan(way), PrivateNetwork()
    outbounds = make_outbounds(plan)
    reactor = Reactor.containing(say)
    with Program.start(argv, network=network, nameserver=network.resolver4) as program:
        device = from_fd(program.tun_fd, program.mtu)
        quiet = ServingContext(reactor, _unsaid, ProcessFilter(reactor, say), descriptors=prepare_process())
        serving = replace(quiet, sockets=SocketOptions(mark=way.mark))
        dataplane = assemble(plan, outbounds, device, serving)
        result = _serve(program, serving, outbounds)
        dataplane.close()
        device.close()
    return result


def _serve(program: Program, serving: ServingContext, outbounds: Outbounds) -> ExitResult:
    def start(stop: Any) -> None:
        serving.reactor.add(program.exit_fd, READ, lambda _: stop())
        program.release()
        if serving.sockets.mark:
            threading.Thread(target=_tell_when_connected, daemon=True).start()

    serve_until(serving, outbounds, start, lambda: serving.reactor.remove(program.exit_fd))
    return program.result()


def _tell_when_connected() -> None:
    with suppress(RemoteError, LocalError, OSError):
        for event in watch(RuntimeDirectory.running().control):
            if event.name == "status" and event.facts.get("status") == "connected":
                say("the tunnel is connected: the way to the login page is closed again")
                return


def _unsaid(_: str) -> None:
    """Which flows of a browser are refused nobody wants to read."""
