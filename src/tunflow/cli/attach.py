"""`tunflow attach`: the stack on a TUN device that somebody else made."""

from __future__ import annotations

import argparse

from tunflow.cli.flows import dialer_of, finish, make_context, with_pcap
from tunflow.cli.saying import say
from tunflow.cli.serve import stop_on_signals
from tunflow.dataplane.admission import Admission
from tunflow.dataplane.driver import Driver
from tunflow.device import Device
from tunflow.host.fd import from_fd
from tunflow.host.tun import TunDevice
from tunflow.loop.reactor import Reactor


def attach(options: argparse.Namespace) -> int:
    """Serve the device until SIGINT or SIGTERM; the exit status. Raises LocalError."""
    dialer = dialer_of(options)
    device: Device = from_fd(options.fd) if options.fd is not None else TunDevice.attach(options.device)
    device = with_pcap(device, options.pcap)
    reactor = Reactor()
    context = make_context(reactor, device, options)
    driver = Driver(context, Admission(context, dialer))
    stop_on_signals(reactor)
    say(f"serving {device.name} through {dialer.label}")
    reactor.run()
    finish(driver, options)
    driver.close()
    device.close()
    return 0
