"""`tunflow demo`: the embedded default, from a program through the tunnel and a server to a site and back."""

from __future__ import annotations

import json
import os
import secrets
import sys
from contextlib import ExitStack
from functools import partial

from tunflow.cli.process import SERVER_VARIABLE
from tunflow.cli.progress import Show, bar
from tunflow.cli.stderr import say
from tunflow.demo.children import Child
from tunflow.demo.client import NEW_CONNECTIONS, DemoPlan
from tunflow.demo.names import NAME, RESOLVER, SITE4, SITE6
from tunflow.demo.report import Report, make_report
from tunflow.demo.servers import ECHO_PORT, HTTP_PORT, be_server, be_site
from tunflow.demo.session import DemoError, DemoSession
from tunflow.demo.site import Ports
from tunflow.protocols.shadowsocks.settings import ShadowsocksServer

METHOD = "aes-256-gcm"

MEASURE_SECONDS = 2.0
"""For each direction, through the tunnel and without."""


def demo(*, as_json: bool) -> int:
    """Run the demo and print its report; the exit status, 0 only when every byte was right."""
    with ExitStack() as stack:
        site = Child("site", be_site)  # forked before rich starts its thread
        stack.callback(site.kill)
        ports = Ports(**site.ready)
        spec = ShadowsocksServer("127.0.0.1", 0, METHOD, secrets.token_urlsafe(24))
        server = Child("server", partial(be_server, spec, ports), (site,))
        stack.callback(server.kill)
        spec = ShadowsocksServer(spec.host, server.ready["port"], spec.method, spec.password)
        show = stack.enter_context(bar(quiet=as_json))
        try:
            report = measure(spec, ports, server, show)
        except DemoError as error:
            show("stopped", 1.0)
            stack.close()
            say(error.line)
            return error.status
    if as_json:
        print(json.dumps(report.as_dict(), indent=2))  # noqa: T201  (this is the command's output)
    else:
        from tunflow.demo.show import show_report  # noqa: PLC0415  (rich, for people only)

        show_report(report)
    return 0


def measure(spec: ShadowsocksServer, ports: Ports, server: Child, show: Show) -> Report:
    """Run the client through the tunnel, then without it. Raises DemoError."""
    through = DemoSession(
        [sys.executable, "-P", "-m", "tunflow", "run", "--dns", RESOLVER, "--"],
        {SERVER_VARIABLE: spec.to_link()},
        lambda step, done: show(f"through the tunnel: {step}", done / 2),
    )
    try:
        tunnel = through.run(tunnel_plan(ports))
    except DemoError as error:
        error.said = error.said or "\n".join(server.end()["log"])
        raise
    counted = server.end()
    if counted["streams"] < NEW_CONNECTIONS:
        raise DemoError(f"the site was reached, but the server carried only {counted['streams']} flows of it")
    direct = DemoSession([], {}, lambda step, done: show(f"without the tunnel: {step}", 0.5 + done / 2))
    cores = len(os.sched_getaffinity(0))
    return make_report(spec.label, tunnel, direct.run(direct_plan(ports)), counted, through.peak_memory, cores)


def tunnel_plan(ports: Ports) -> DemoPlan:
    """What the client asks for inside the tunnel: addresses that lead nowhere but through the server."""
    plan = DemoPlan(
        pages=[("name", NAME, HTTP_PORT), ("IPv4", SITE4, HTTP_PORT)],
        echoes=[("IPv4", SITE4, ECHO_PORT)],
        measured=(SITE4, HTTP_PORT),
        seconds=MEASURE_SECONDS,
    )
    if ports.http6:
        plan["pages"].append(("IPv6", SITE6, HTTP_PORT))
        plan["echoes"].append(("IPv6", SITE6, ECHO_PORT))
    return plan


def direct_plan(ports: Ports) -> DemoPlan:
    """The same without a tunnel, over loopback."""
    return DemoPlan(
        pages=[("IPv4", "127.0.0.1", ports.http4)],
        echoes=[("IPv4", "127.0.0.1", ports.echo4)],
        measured=("127.0.0.1", ports.http4),
        seconds=MEASURE_SECONDS,
    )
