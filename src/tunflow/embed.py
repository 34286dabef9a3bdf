"""The stack on a TUN device that another program made, in three lines:

    from tunflow.embed import attach

    tunnel = attach(fd, "ss://METHOD:PASSWORD@HOST:PORT")
    tunnel.run()

This is what `tunflow attach` does for a process that brings its own. The device's addresses and routes are its maker's;
so is keeping our own sockets out of it, for which `mark` or `interface` may help.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Sequence
from math import inf
from typing import TYPE_CHECKING, BinaryIO

from tunflow.dataplane.decision import Policy
from tunflow.dataplane.statistics import Statistics
from tunflow.device import Device
from tunflow.errors import LocalError
from tunflow.host.fd import from_fd
from tunflow.host.tun import TunDevice
from tunflow.loop.reactor import READ, Reactor
from tunflow.loop.sockets import SocketOptions
from tunflow.protocols.registry import parse_server
from tunflow.tunnel.assemble import Dataplane, ServingContext, assemble
from tunflow.tunnel.outbounds import Outbounds, find_hops_now, make_outbounds, tunnels_for
from tunflow.tunnel.plan import Plan, plan_of_servers
from tunflow.tunnel.process_filter import ProcessFilter
from tunflow.tunnel.serving import serve_until

if TYPE_CHECKING:
    from tunflow.profiles.profile import Profile

RESERVED_DESCRIPTORS = 64
"""Descriptors that no flow gets: the caller's, and ours beside flows."""


class Attachment:
    """A device that is served while `run` runs; made by `attach`."""

    def __init__(self, device: Device, dataplane: Dataplane, serving: ServingContext, outbounds: Outbounds) -> None:
        self.device = device
        self._outbounds = outbounds
        self._dataplane = dataplane
        self._serving = serving
        self._stop = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def run(self) -> None:
        """Serve until `stop` is called or the device is gone; then everything is given back, the device too."""
        serving, reactor = self._serving, self._serving.reactor
        background = None
        if self._dataplane.plan.fetched_lists:
            from tunflow.tunnel.refreshing import refresher  # noqa: PLC0415 (which few need)

            background = refresher(self._dataplane, serving, self._outbounds, lambda plan: plan.for_attached)
        try:
            serve_until(serving, self._outbounds, self._arm, background=background)
        finally:
            self._dataplane.close()
            self.device.close()
            reactor.close()
            os.close(self._stop)

    def _arm(self, stop: Callable[[], None]) -> None:
        self._serving.reactor.add(self._stop, READ, lambda _: stop())

    def stop(self) -> None:
        """Let `run` return soon; from any thread, or a signal handler."""
        os.eventfd_write(self._stop, 1)

    @property
    def statistics(self) -> Statistics:
        """Flows and bytes so far."""
        return self._dataplane.driver.final_statistics()


def attach(
    device: int | str,
    *servers: str,
    profile: str | Profile | None = None,
    policy: Policy | None = None,
    mark: int = 0,
    interface: str | None = None,
    memory_limit: float = inf,
    pcap: BinaryIO | None = None,
    verbose: bool = False,
    log: Callable[[str], None] = lambda _: None,
) -> Attachment:
    """Serve a TUN device, given as a file descriptor (which is taken over) or a name, through a chain of servers.

    `servers` are links as on the command line, first hop first. A `profile` instead of them (a saved one's name, a file
    or a value) also brings rules, groups, names and a filter. `policy` decides about single flows; our sockets carry
    `mark` (SO_MARK) or are bound to `interface`; all flows together buffer `memory_limit` bytes at most; `pcap`, open
    for binary writing, gets every packet (pcapng); `log` gets lines for people, with `verbose` one for each decision.
    Raises LocalError.
    """
    plan = _plan(servers, profile, log).for_attached
    find, failures = find_hops_now(plan.first_hops)
    for failure in failures:
        log(failure)
    outbounds = make_outbounds(plan, find, tunnels_for(plan))
    opened = from_fd(device) if isinstance(device, int) else TunDevice.attach(device)
    reactor = Reactor.containing(log)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    serving = ServingContext(
        reactor,
        log,
        ProcessFilter(reactor, log),
        SocketOptions(mark, interface),
        descriptors=max(RESERVED_DESCRIPTORS, soft - RESERVED_DESCRIPTORS),
        verbose=verbose,
        memory_limit=memory_limit,
        pcap=pcap,
        policy=policy,
    )
    return Attachment(opened, assemble(plan, outbounds, opened, serving), serving, outbounds)


def _plan(servers: Sequence[str], profile: str | Profile | None, log: Callable[[str], None]) -> Plan:
    """Raises LocalError."""
    if profile is None:
        if not servers:
            raise LocalError("attach: no server given: expected links like ss://METHOD:PASSWORD@HOST:PORT or direct://")
        return plan_of_servers([parse_server(link) for link in servers])
    if servers:
        raise LocalError("attach: the profile names the servers: others cannot be given too")
    from tunflow.profiles.store import load_profile  # noqa: PLC0415 (profiles need much that others do not)
    from tunflow.tunnel.compile import compile_profile  # noqa: PLC0415
    from tunflow.tunnel.rule_lists import RuleLists  # noqa: PLC0415

    read = load_profile(profile, log) if isinstance(profile, str) else profile
    plan = compile_profile(read, RuleLists(read, log))
    if plan.provider is not None:
        raise LocalError(f"{plan.at('provider')}: attach takes servers of flows, and {plan.provider} is a provider")
    return plan
