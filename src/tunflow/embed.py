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
from collections.abc import Callable

from tunflow.dataplane.admission import Admission
from tunflow.dataplane.context import FlowContext
from tunflow.dataplane.decision import Policy
from tunflow.dataplane.driver import Driver
from tunflow.dataplane.statistics import Statistics
from tunflow.device import Device
from tunflow.errors import LocalError
from tunflow.host.fd import from_fd
from tunflow.host.tun import TunDevice
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.reactor import READ, Reactor
from tunflow.loop.sockets import SocketOptions
from tunflow.outbound.chain import outbound_of

RESERVED_DESCRIPTORS = 64
"""Descriptors that no flow gets: the caller's, and ours beside flows."""


class Attachment:
    """A device that is served while `run` runs; made by `attach`."""

    def __init__(self, device: Device, driver: Driver, reactor: Reactor) -> None:
        self.device = device
        self._driver = driver
        self._reactor = reactor
        self._stop = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        reactor.add(self._stop, READ, lambda _: reactor.stop())

    def run(self) -> None:
        """Serve until `stop` is called or the device is gone; then everything is given back, the device too."""
        try:
            self._reactor.run()
        finally:
            self._driver.close()
            self.device.close()
            self._reactor.close()
            os.close(self._stop)

    def stop(self) -> None:
        """Let `run` return soon; from any thread, or a signal handler."""
        os.eventfd_write(self._stop, 1)

    @property
    def statistics(self) -> Statistics:
        """Flows and bytes so far."""
        return self._driver.final_statistics()


def attach(
    device: int | str,
    *servers: str,
    policy: Policy | None = None,
    mark: int = 0,
    interface: str | None = None,
    log: Callable[[str], None] = lambda _: None,
) -> Attachment:
    """Serve a TUN device, given as a file descriptor (which is taken over) or a name, through a chain of servers.

    `servers` are links as on the command line, first hop first; `policy` decides about single flows; our sockets carry
    `mark` (SO_MARK) or are bound to `interface`; `log` gets lines for people. Raises LocalError.
    """
    if not servers:
        raise LocalError("attach: no server given: expected links like ss://METHOD:PASSWORD@HOST:PORT or direct://")
    dialer = outbound_of(servers)
    opened = from_fd(device) if isinstance(device, int) else TunDevice.attach(device)
    reactor = Reactor()
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    context = FlowContext.on(
        reactor,
        opened,
        CauseLog(log, lambda: reactor.now),
        descriptors=max(RESERVED_DESCRIPTORS, soft - RESERVED_DESCRIPTORS),
        sockets=SocketOptions(mark, interface),
    )
    return Attachment(opened, Driver(context, Admission(context, dialer, policy=policy)), reactor)
