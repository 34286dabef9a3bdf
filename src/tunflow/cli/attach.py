"""`tunflow attach`: the stack on a TUN device that somebody else made."""

from __future__ import annotations

import argparse

from tunflow.cli.api import api_for
from tunflow.cli.process import plan_given
from tunflow.cli.serving import stop_on_signals
from tunflow.cli.serving_context import open_pcap, serving_context
from tunflow.cli.stderr import say
from tunflow.errors import LocalError
from tunflow.host.fd import from_fd
from tunflow.host.tun import TunDevice
from tunflow.loop.reactor import Reactor
from tunflow.tunnel.assemble import assemble
from tunflow.tunnel.outbounds import find_hops_now, make_outbounds, tunnels_for
from tunflow.tunnel.serving import serve_until


def attach(options: argparse.Namespace) -> int:
    """Serve the device until SIGINT or SIGTERM; the exit status. Raises LocalError."""
    plan = plan_given(options).for_attached
    if plan.provider is not None:
        raise LocalError(f"attach takes servers of flows, and {plan.provider} is a provider: use run or up")
    find, failures = find_hops_now(plan.first_hops)
    for failure in failures:
        say(failure)
    outbounds = make_outbounds(plan, find, tunnels_for(plan))
    device = from_fd(options.fd) if options.fd is not None else TunDevice.attach(options.device)
    reactor = Reactor.containing(say)
    api = api_for(options.api, plan, reactor)
    serving = serving_context(options, reactor, pcap=open_pcap(options.pcap), api=api)
    dataplane = assemble(plan, outbounds, device, serving)
    say(f"serving {device.name} through {', '.join(plan.labels)}")
    background = None
    if plan.fetched_lists:
        from tunflow.tunnel.refreshing import refresher  # noqa: PLC0415 (which few need)

        background = refresher(dataplane, serving, outbounds, lambda plan: plan.for_attached)
    serve_until(serving, outbounds, lambda stop: stop_on_signals(reactor, stop), background=background)
    dataplane.close()
    device.close()
    if api is not None:
        api.close()
    return 0
